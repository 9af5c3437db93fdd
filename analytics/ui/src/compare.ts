// Runs side by side, as the server compares them. Pure.

import { count, duration, rate, share } from "./format";
import type { Comparison, Difference } from "./wire";

/** One figure of one row, beside the same of each run that is compared. */
export interface ComparedFigure {
  id: string;
  /** A chain, an endpoint, or what comes before them. */
  row: string;
  figure: string;
  before: string;
  /** In the order of the comparisons; undefined where one has no such row. */
  after: readonly (Difference | undefined)[];
}

export interface ComparedFilter {
  /** Also rows of endpoints. */
  endpoints: boolean;
  /** Only figures that differ beyond noise in one comparison. */
  differing: boolean;
}

/** The figures of several comparisons with the same run before. What no run has is left out. */
export function figuresOf(comparisons: readonly Comparison[], { endpoints, differing }: ComparedFilter): ComparedFigure[] {
  const found = new Map<string, Difference[]>();
  for (const [n, { differences }] of comparisons.entries()) {
    for (const difference of differences) {
      const id = `${nameOf(difference)} ${difference.figure}`;
      const row = found.get(id) ?? [];
      row[n] = difference;
      found.set(id, row);
    }
  }
  const figures = [...found].map(([id, row]): ComparedFigure => {
    const after = comparisons.map((_, n) => row[n]);
    const any = row.find((difference) => difference !== undefined);
    const before = row.find((difference) => difference !== undefined && difference.before !== null) ?? any;
    return { id, row: any === undefined ? "" : nameOf(any), figure: any === undefined ? "" : FIGURES[any.figure] ?? any.figure, before: before === undefined ? "–" : valueOf(before.before, before.unit), after };
  });
  return figures.filter(({ after }) => {
    const there = after.filter((difference) => difference !== undefined);
    const known = there.some((difference) => difference.before !== null || difference.after !== null);
    const ofEndpoint = there.some(({ method }) => method !== "");
    const differs = there.some(({ verdict }) => verdict === "better" || verdict === "worse");
    return known && (endpoints || !ofEndpoint) && (!differing || differs);
  });
}

/** Figures whose name in the API is not their name for people. */
const FIGURES: Readonly<Record<string, string>> = { rate: "a second" };

/** The words for what the data shows. */
export const VERDICTS: Readonly<Record<Difference["verdict"], string>> = {
  better: "✓ better",
  worse: "✗ worse",
  "none-shown": "within noise",
  "too-few-samples": "too few samples",
};

function nameOf({ chain, name, uri }: Difference): string {
  return chain ? `chain ${name}` : `${name} ${uri}`.trim();
}

export function valueOf(value: number | null, unit: Difference["unit"]): string {
  if (value === null) return "–";
  switch (unit) {
    case "ns":
      return duration(value);
    case "share":
      return share(value);
    case "per-second":
      return `${rate(value)}/s`;
    case "count":
      return count(value);
  }
}

type Change = NonNullable<Difference["change"]>;

/** A change with its 95 % interval: `+12.3 %`, `+2.0 to +23.1 %`; shares change by percentage points. */
export function changeOf(change: Change | null): { value: string; between: string } {
  if (change === null) return { value: "–", between: "" };
  const unit = change.scale === "relative" ? "%" : "pp";
  return { value: `${percent(change.value, unit)}\u00a0${unit}`, between: `${percent(change.low, unit)} to ${percent(change.high, unit)}` };
}

function percent(value: number, unit: string): string {
  const size = Math.abs(100 * value);
  const text = unit === "pp" ? size.toFixed(2) : size >= 100 ? String(Math.round(size)) : size.toFixed(1);
  return `${Number(text) === 0 ? "" : value < 0 ? "−" : "+"}${text}`;
}
