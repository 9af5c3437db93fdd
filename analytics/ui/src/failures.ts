// What failed, as rows: by what, by kind, and where one row leads to. Pure.

import { NONE, visible } from "./format";
import type { FailureFigures, Snapshot } from "./wire";

export interface FailureRow {
  /** In the page's address. */
  id: string;
  /** A chain or an endpoint. */
  what: string;
  /** Status, problem type and detail, as one text. */
  kind: string;
  figures: FailureFigures;
}

/** All kinds of failures, most frequent first. */
export function failureRows(snapshot: Pick<Snapshot, "failures">): FailureRow[] {
  return snapshot.failures.map((figures) => ({
    id: [figures.scope, figures.name, figures.class ?? "", figures.status, figures.problem, figures.detail].join("|"),
    what: `${figures.scope} ${figures.name}`,
    kind: kindOf(figures),
    figures,
  }));
}

export function kindOf({ status, problem, detail, class: cause }: FailureFigures): string {
  const parts = [status === 0 ? "" : String(status), problem, detail && `[${detail}]`].filter((part) => part !== "");
  return parts.join(" ") || cause || NONE;
}

/** A problem document for people: its members on lines of their own, or, if it was cut or is no JSON, as it came. */
export function documentOf(text: string): string {
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // It was cut, or the CA sent something else.
  }
  return shown.split("\n").map(visible).join("\n");
}

/** A kind counts as over if nothing of it happened for this time, and for so many times the mean time between two. */
const QUIET_NS = 10e9;
const QUIET_GAPS = 5;

/** Since when a kind has not happened any more, nanoseconds before `now`; null while it goes on. */
export function quietFor({ count, first_unix_ns, last_unix_ns }: FailureFigures, now_unix_ns: number): number | null {
  if (last_unix_ns === 0) return null;
  const gap = count > 1 ? (last_unix_ns - first_unix_ns) / (count - 1) : 0;
  const quiet = now_unix_ns - last_unix_ns;
  return quiet > Math.max(QUIET_NS, QUIET_GAPS * gap) ? quiet : null;
}

/** Whether the waits that the CA asked for were kept, in words. */
export function waitsKept({ count, retry_kept, retry_early, retry_after_min_ns }: FailureFigures): string {
  if (retry_after_min_ns === null) return NONE;
  const not = count - retry_kept - retry_early;
  const parts = [retry_kept > 0 && `kept ${retry_kept}`, retry_early > 0 && `too early ${retry_early}`, not > 0 && `not tried again ${not}`];
  return parts.filter((part) => part !== false).join(", ");
}

/** What to show: only chains or requests, and rows with each of the words. */
export interface FailureFilter {
  scope: "" | FailureFigures["scope"];
  text: string;
}

export function filtered(rows: readonly FailureRow[], { scope, text }: FailureFilter): FailureRow[] {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return rows.filter(({ what, kind, figures }) => {
    const all = `${what} ${figures.class ?? ""} ${kind} ${figures.example}`.toLowerCase();
    return (scope === "" || figures.scope === scope) && words.every((word) => all.includes(word));
  });
}

/** How many requests and how many chains failed. A failed request can make its chain fail, so they are not one sum. */
export type Sums = Record<FailureFigures["scope"], number>;

export function sumsOf(rows: readonly FailureRow[]): Sums {
  const sums: Sums = { request: 0, chain: 0 };
  for (const { figures } of rows) sums[figures.scope] += figures.count;
  return sums;
}

/** Failures by problem type or class (rows) and by chain or endpoint (columns), with their sums. */
export interface FailureMatrix {
  columns: string[];
  rows: { name: string; counts: number[]; sums: Sums }[];
}

/** The widest matrix; what is beyond is in the last column. */
const MOST_COLUMNS = 8;

export function matrixOf(rows: readonly FailureRow[]): FailureMatrix {
  const place = ({ scope, name }: FailureFigures) => (scope === "chain" ? `chain ${name}` : name);
  const sums = new Map<string, number>();
  for (const { figures } of rows) sums.set(place(figures), (sums.get(place(figures)) ?? 0) + figures.count);
  const names = [...sums].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const columns = names.length > MOST_COLUMNS ? [...names.slice(0, MOST_COLUMNS - 1), "others"] : names;
  const kinds = new Map<string, FailureRow[]>();
  for (const row of rows) {
    const kind = row.figures.problem || row.figures.class || NONE;
    kinds.set(kind, [...(kinds.get(kind) ?? []), row]);
  }
  const found = [...kinds].map(([name, rows]) => {
    const counts = columns.map(() => 0);
    for (const { figures } of rows) {
      const column = columns.indexOf(place(figures));
      const at = column === -1 ? columns.length - 1 : column;
      counts[at] = (counts[at] ?? 0) + figures.count;
    }
    return { name, counts, sums: sumsOf(rows) };
  });
  const all = ({ request, chain }: Sums) => request + chain;
  return { columns, rows: found.sort((a, b) => all(b.sums) - all(a.sums)) };
}
