// Made from record/src/chain.rs: WEC_WRITE_PAGE=1 cargo test -p wec-analytics --test analytics page_chains

export const CHAINS = ["registration", "authorization", "certificate", "refresh", "revoke"] as const;
export type Chain = (typeof CHAINS)[number];
/** What a plan that sets none has. */
export const DEFAULT_WEIGHTS: Record<Chain, number> = {
  "registration": 1,
  "authorization": 4,
  "certificate": 4,
  "refresh": 2,
  "revoke": 1,
};
