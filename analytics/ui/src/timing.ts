// The columns of a table of times, declared as data.

import { count, duration, interval } from "./format";
import type { Interval, Timing } from "./wire";

export interface TimingColumn {
  key: Exclude<keyof Timing, "n" | `${string}_ci`>;
  label: string;
  title: string;
  /** The number of samples below which the server withholds the figure. */
  needs: number;
}

const COLUMNS: Record<TimingColumn["key"], Omit<TimingColumn, "key">> = {
  mean: { label: "mean", title: "Arithmetic mean", needs: 1 },
  std_error: { label: "± s.e.", title: "Standard error of the mean", needs: 2 },
  min: { label: "min", title: "Smallest, rounded down to three digits", needs: 1 },
  p50: { label: "p50", title: "Median", needs: 20 },
  p90: { label: "p90", title: "90th percentile", needs: 100 },
  p95: { label: "p95", title: "95th percentile", needs: 200 },
  p99: { label: "p99", title: "99th percentile", needs: 1_000 },
  p99_9: { label: "p99.9", title: "99.9th percentile", needs: 10_000 },
  max: { label: "max", title: "Largest", needs: 1 },
};
export const TIMING_COLUMNS: readonly TimingColumn[] = Object.entries(COLUMNS).map(([key, column]) => ({
  key: key as TimingColumn["key"],
  ...column,
}));

/** The samples that a column needs, in words. */
export function needs(column: TimingColumn): string {
  return column.needs === 1 ? "a sample" : `${count(column.needs)} samples`;
}

/** The 95 % confidence interval of a percentile in the unit of its value; empty if there is none. */
export function between(timing: Timing, column: TimingColumn): string {
  const value = timing[column.key];
  const ends = timing[`${column.key}_ci` as keyof Timing] as Interval | null | undefined;
  return value !== null && ends ? interval(value, ends) : "";
}

/** A cell: its text, or why it is empty. */
export function cell(timing: Timing, column: TimingColumn): { text: string; title: string } {
  const value = timing[column.key];
  if (value !== null) {
    const interval = timing[`${column.key}_ci` as keyof Timing] as Interval | null | undefined;
    const between = interval ? `; with 95 % confidence between ${duration(interval[0])} and ${duration(interval[1])}` : "";
    return { text: duration(value), title: `${column.title} of ${count(timing.n)} samples${between}` };
  }
  return {
    text: duration(null),
    title: `${column.title} needs ${needs(column)}${column.key.startsWith("p") ? ", 10 of them in its tail" : ""}; there ${timing.n === 1 ? "is" : "are"} ${count(timing.n)}`,
  };
}
