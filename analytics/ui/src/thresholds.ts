// Thresholds as text: state, value and limit. Pure.

import { clock, count, duration, NONE, things } from "./format";
import type { ThresholdResult, Unit } from "./wire";

export type Standing = "passed" | "failed" | "undecided";

export function standing(threshold: ThresholdResult): Standing {
  if (threshold.passed === null) return "undecided";
  return threshold.passed ? "passed" : "failed";
}

/** The state as text: during the run a threshold holds or fails, and at the end it has passed or failed. */
export function verdict(threshold: ThresholdResult, over: boolean): string {
  const how = standing(threshold);
  if (how === "undecided") return over ? "undecided: not passed" : "undecided";
  if (how === "failed") return over || threshold.windows !== null || threshold.aborted ? "failed" : "fails";
  return over ? "passed" : "holds";
}

/** One line for all thresholds. */
export function overall(thresholds: readonly ThresholdResult[], over: boolean): string {
  const number = (how: Standing) => thresholds.filter((threshold) => standing(threshold) === how).length;
  const [failed, undecided] = [number("failed"), number("undecided")];
  if (failed + undecided === 0) return over ? "all passed" : "all hold";
  const parts = [
    failed > 0 && `${count(failed)} of ${count(thresholds.length)} ${over ? "failed" : failed === 1 ? "does not hold" : "do not hold"}`,
    undecided > 0 && `${count(undecided)} undecided`,
  ];
  return parts.filter((part) => part !== false).join(", ");
}

/** A value or a limit with its unit. A share near its limit is not rounded to the limit. */
export function amount(value: number | null, unit: Unit, limit = value): string {
  if (value === null) return NONE;
  switch (unit) {
    case "ns":
      return duration(value);
    case "share":
      return `${percent(value, limit ?? value)}\u00a0%`;
    case "count":
      return Number.isInteger(value) ? count(value) : String(value);
    case "per-second":
      return `${Math.round(value * 100) / 100}/s`;
  }
}

/** Two decimals, or as many more as needed to differ from the limit. */
function percent(share: number, limit: number): number {
  for (let decimals = 2; decimals < 6; decimals += 1) {
    const text = Number((100 * share).toFixed(decimals));
    if (share === limit || text !== Number((100 * limit).toFixed(decimals))) return text;
  }
  return 100 * share;
}

/** What was judged: `N 4 200`, `worst of 28 windows, 2 failed, at 10:12:31`. */
export function basis(threshold: ThresholdResult): string {
  const samples = `N${"\u00a0"}${count(threshold.n)}`;
  if (threshold.windows === null) {
    if (threshold.value !== null) return threshold.unit === "count" ? "" : samples;
    return threshold.expression.startsWith("rate{") ? "no target was set" : `too few samples: ${samples}`;
  }
  if (threshold.value === null) return "no full window had enough samples yet";
  const failed = threshold.windows_failed ?? 0;
  const at = threshold.worst_unix_ns === null ? "" : ` at ${clock(threshold.worst_unix_ns / 1e9)}`;
  return `worst of ${things(threshold.windows, "window")}${at}, ${samples}; ${failed === 0 ? "none" : count(failed)} failed`;
}

/** A line at the limit of a threshold. */
export interface LimitLine {
  chain: string;
  /** The limit, nanoseconds. */
  at: number;
  label: string;
}

/** The limits of response times of chains, which the chart of these times shows. */
export function limitLines(thresholds: readonly ThresholdResult[]): LimitLine[] {
  return thresholds.flatMap((threshold) => {
    const [, chain, figure] = /^chain\.([\w-]+)\{([^}]+)\}\s*</.exec(threshold.expression) ?? [];
    if (chain === undefined || figure === undefined || threshold.unit !== "ns") return [];
    return [{ chain, at: threshold.limit, label: `${figure} < ${duration(threshold.limit)}` }];
  });
}
