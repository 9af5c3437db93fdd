// What the state store has of each kind of object, and what the run made of it. Pure.

import { CHAINS, MAKES, type Chain, type ChainObject } from "./chains";
import type { LimitsView, Snapshot, StateCounts } from "./wire";

/** Counts of objects: workers, claims and unwritten changes are shown elsewhere. */
type Kind = Exclude<keyof StateCounts, "workers" | "claimed" | "unwritten">;

export interface StoredObject {
  id: Kind;
  label: string;
  /** What is counted now. */
  what: string;
  now: number;
  made: number;
  /** What makes it. */
  by: string;
  limit: number | null;
  /** Whether the limit is reached for certain: it also counts what earlier runs with the same state made. */
  reached: boolean;
}

const WORDS: Record<Kind, { label: string; what: string }> = {
  registrations: { label: "registrations", what: "Accounts that can be used" },
  authorizations: { label: "ready orders", what: "Orders that can be finalized" },
  certificates: { label: "certificates", what: "Certificates that are neither revoked nor replaced" },
  revoked: { label: "revoked", what: "Certificates revoked" },
};

const makersOf = (object: ChainObject): Chain[] => CHAINS.filter((chain) => MAKES[chain] === object);
const succeeded = ({ chains }: Snapshot, chain: Chain) => chains[chain].count - chains[chain].failed - chains[chain].abandoned;

/** Chains of every kind may make an account of their own, so accounts are counted by their requests. */
function accounts({ endpoints }: Snapshot): number {
  const made = endpoints.filter(({ endpoint, method }) => endpoint === "newAccount" && method === "POST");
  return made.reduce((sum, { count, failed, cut_off }) => sum + count - failed - cut_off, 0);
}

function made(snapshot: Snapshot, kind: Kind): number {
  switch (kind) {
    case "registrations":
      return accounts(snapshot);
    case "authorizations":
      return makersOf(kind).reduce((sum, chain) => sum + succeeded(snapshot, chain), 0);
    case "certificates":
      return snapshot.issued.count;
    case "revoked":
      return succeeded(snapshot, "revoke");
  }
}

function makers(kind: Kind): string {
  if (kind === "revoked") return "revoke";
  const chains = makersOf(kind).join(", ");
  return kind === "registrations" ? `${chains}; chains with accounts of their own` : chains;
}

/** The kinds of objects. `part` is the period that is shown, of which only `made` is. */
export function storedObjects(whole: Snapshot, part: Snapshot, limits: LimitsView | undefined): StoredObject[] {
  return (Object.keys(WORDS) as Kind[]).map((id) => {
    const now = whole.state[id];
    const limit = id === "revoked" ? null : (limits?.[id] ?? null);
    const reached = limit !== null && Math.max(now, made(whole, id)) >= limit;
    return { id, ...WORDS[id], now, made: made(part, id), by: makers(id), limit, reached };
  });
}
