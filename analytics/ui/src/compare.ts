// Two runs side by side: their main figures, and whether they differ. Pure.
//
// A difference counts where the 95 % intervals of the two figures do not overlap. Between runs there is more noise than
// within one; `wec compare` pools several runs on a side.

import { count, duration, rate, share } from "./format";
import { CHAINS, type Interval, type Snapshot, type Timing } from "./wire";

export interface CompareRow {
  name: string;
  before: string;
  after: string;
  /** After by before, minus 1; null where there is no such figure. */
  change: number | null;
  /** Null where it cannot be known. */
  differs: boolean | null;
  /** Whether the change is for the worse. */
  worse: boolean;
}

export function compared(before: Snapshot, after: Snapshot): CompareRow[] {
  const plain = (name: string, of: (snapshot: Snapshot) => number | null, text: (value: number | null) => string, moreIsWorse: boolean): CompareRow => {
    const [a, b] = [of(before), of(after)];
    const change = changeOf(a, b);
    return { name, before: text(a), after: text(b), change, differs: null, worse: change !== null && change !== 0 && change > 0 === moreIsWorse };
  };
  const proportion = (name: string, of: (snapshot: Snapshot) => [number, number]): CompareRow => {
    const [[a, n], [b, m]] = [of(before), of(after)];
    const [p, q] = [n === 0 ? null : a / n, m === 0 ? null : b / m];
    const differs = p === null || q === null ? null : !overlap(wilson(a, n), wilson(b, m));
    return { name, before: share(p), after: share(q), change: changeOf(p, q), differs, worse: (q ?? 0) > (p ?? 0) };
  };
  const chains = (key: "count" | "failed") => (snapshot: Snapshot) => CHAINS.reduce((sum, chain) => sum + snapshot.chains[chain][key], 0);
  const times = (name: string, of: (snapshot: Snapshot) => Timing) =>
    (["p50", "p95", "p99"] as const).flatMap((key): CompareRow[] => {
      const [a, b] = [of(before), of(after)];
      if (a[key] === null && b[key] === null) return [];
      const [left, right] = [a[`${key}_ci`] as Interval | null, b[`${key}_ci`] as Interval | null];
      const change = changeOf(a[key], b[key]);
      const differs = left === null || right === null ? null : !overlap(left, right);
      return [{ name: `${name} ${key}`, before: duration(a[key]), after: duration(b[key]), change, differs, worse: (change ?? 0) > 0 }];
    });
  return [
    plain("issued, per second", ({ issued }) => issued.per_second, rate, false),
    plain("certificates", ({ issued }) => issued.count, (value) => count(value ?? 0), false),
    plain("requests, per second", ({ rps }) => rps, rate, false),
    proportion("failed chains", (snapshot) => [chains("failed")(snapshot), chains("count")(snapshot)]),
    proportion("failed requests", ({ requests_failed, requests }) => [requests_failed, requests]),
    ...times("issuance", ({ issued }) => issued.response_time_ns),
    ...CHAINS.flatMap((chain) => times(chain, (snapshot) => snapshot.chains[chain].response_time_ns)),
  ];
}

function changeOf(before: number | null, after: number | null): number | null {
  return before === null || after === null || before === 0 ? null : after / before - 1;
}

function overlap([a, b]: readonly [number, number], [c, d]: readonly [number, number]): boolean {
  return a <= d && c <= b;
}

/** The Wilson interval of a proportion, 95 %. */
export function wilson(of: number, n: number): [number, number] {
  if (n === 0) return [0, 1];
  const [z, p] = [1.96, of / n];
  const middle = (p + z ** 2 / (2 * n)) / (1 + z ** 2 / n);
  const reach = (z / (1 + z ** 2 / n)) * Math.sqrt((p * (1 - p)) / n + z ** 2 / (4 * n ** 2));
  return [Math.max(0, middle - reach), Math.min(1, middle + reach)];
}

/** A change in words: `+12.3 %`. */
export function changeSaid(change: number | null): string {
  if (change === null) return "–";
  const percent = 100 * change;
  const size = Math.abs(percent);
  if (size < 0.05) return "0\u00a0%";
  return `${percent < 0 ? "−" : "+"}${size >= 100 ? Math.round(size) : size.toFixed(1)}\u00a0%`;
}
