// Made from record/src/chain.rs: WEC_WRITE_PAGE=1 cargo test -p wec-analytics --test analytics page_chains

export const CHAINS = ["registration", "authorization", "certificate", "refresh", "revoke", "key-rollover", "account-update", "account-deactivation", "authorization-deactivation", "orders-list", "pre-authorization", "renewal-info", "alternate-chains", "download", "refusals", "composed"] as const;
export type Chain = (typeof CHAINS)[number];
/** What a plan that sets none has. */
export const DEFAULT_WEIGHTS: Record<Chain, number> = {
  "registration": 1,
  "authorization": 4,
  "certificate": 4,
  "refresh": 2,
  "revoke": 1,
  "key-rollover": 0,
  "account-update": 0,
  "account-deactivation": 0,
  "authorization-deactivation": 0,
  "orders-list": 0,
  "pre-authorization": 0,
  "renewal-info": 0,
  "alternate-chains": 0,
  "download": 0,
  "refusals": 0,
  "composed": 0,
};
/** An object that chains need and make. */
export type ChainObject = "registrations" | "authorizations" | "certificates";
/** What the state store must hold for each; null for one that needs nothing. */
export const NEEDS: Record<Chain, ChainObject | null> = {
  "registration": null,
  "authorization": "registrations",
  "certificate": "authorizations",
  "refresh": "certificates",
  "revoke": "certificates",
  "key-rollover": "registrations",
  "account-update": "registrations",
  "account-deactivation": "registrations",
  "authorization-deactivation": "registrations",
  "orders-list": "registrations",
  "pre-authorization": "registrations",
  "renewal-info": "certificates",
  "alternate-chains": "certificates",
  "download": "certificates",
  "refusals": "registrations",
  "composed": "registrations",
};
/** What each adds to the state store; null for one that adds nothing. */
export const MAKES: Record<Chain, ChainObject | null> = {
  "registration": "registrations",
  "authorization": "authorizations",
  "certificate": "certificates",
  "refresh": "certificates",
  "revoke": null,
  "key-rollover": null,
  "account-update": null,
  "account-deactivation": null,
  "authorization-deactivation": null,
  "orders-list": null,
  "pre-authorization": "authorizations",
  "renewal-info": null,
  "alternate-chains": null,
  "download": null,
  "refusals": null,
  "composed": null,
};
