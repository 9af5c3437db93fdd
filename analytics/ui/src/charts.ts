// The charts, declared as data; ChartPanel.svelte draws any of them.

import { NONE, brief, count, duration, rate } from "./format";
import { acrossChains, at, type Columns } from "./series";
import { DEFAULT_WEIGHTS } from "./chains";
import { CHAINS, type ChainSeries } from "./wire";

/** A custom property of tokens.css or chains.css, without its dashes. */
export type Colour = "requests" | "chains" | "bad" | "hits" | "accent" | `class-${number}` | `chain-${(typeof CHAINS)[number]}`;

export interface Line {
  /** Name in the legend; lines with one name share a colour and are hidden together. */
  name: string;
  /** Not in the legend while it has no value. */
  optional?: boolean;
  /** Distinguishes lines of one name. */
  variant?: string;
  /** The view in which it is drawn; without it, all views. */
  view?: string;
  colour: Colour;
  /** Lengths of the dashes and of the gaps between them, pixels; a whole line without. */
  dash?: readonly number[];
  filled?: true;
  /** The value of a bucket; null is a gap. */
  y: (columns: Columns, index: number) => number | null;
}

export interface Chart {
  id: string;
  title: string;
  /** Unit or meaning of the values. */
  unit: string;
  format: (value: number | null) => string;
  /** Logarithmic for times, which differ by orders of magnitude between chains. */
  scale: "linear" | "log";
  /** Views to choose from; the last has the fewest gaps: see `firstView`. */
  views: { id: string; label: string }[];
  lines: Line[];
}

export const DASHED = [4, 3];
export const DOTTED = [1.5, 2.5];
/** Of the lines of classes, as far as they have dashes. */
export const CLASS_DASHES: readonly Pick<Line, "dash">[] = [
  {},
  { dash: DASHED },
  { dash: DOTTED },
  { dash: [10, 3] },
  { dash: [9, 3, 2, 3] },
  { dash: [5, 2, 1.5, 2, 1.5, 2] },
];

/** Counts in buckets of a second are whole numbers, so decimals are left out. */
const wholeRate = (value: number | null) => brief(rate(value));

const perSecond =
  (of: (columns: Columns, index: number) => number | null) =>
  (columns: Columns, index: number): number | null => {
    const value = of(columns, index);
    return value === null ? null : value / columns.step;
  };

/** The lines of a chain's response times, by view. */
const TIMES: readonly { view: string; variant: string; column: keyof ChainSeries; dash?: readonly number[] }[] = [
  { view: "percentiles", variant: "p50", column: "p50_ns" },
  { view: "percentiles", variant: "p95", column: "p95_ns", dash: DASHED },
  { view: "tail", variant: "p50", column: "p50_ns" },
  { view: "tail", variant: "p95", column: "p95_ns", dash: DASHED },
  { view: "tail", variant: "p99", column: "p99_ns", dash: DOTTED },
  { view: "parts", variant: "whole", column: "mean_ns" },
  { view: "parts", variant: "CA", column: "ca_mean_ns", dash: DASHED },
  { view: "mean", variant: "mean", column: "mean_ns" },
];

/** The charts of the overview. */
export const CHARTS: readonly Chart[] = [
  {
    id: "throughput",
    title: "Throughput",
    unit: "per second",
    format: wholeRate,
    scale: "linear",
    views: [],
    lines: [
      { name: "issued", colour: "hits", y: perSecond((columns, index) => at(columns, "issued", index)) },
      {
        name: "requests",
        colour: "requests",
        filled: true,
        y: perSecond((columns, index) => at(columns, "requests", index)),
      },
      {
        name: "requests",
        variant: "target",
        colour: "requests",
        dash: DASHED,
        y: (columns, index) => at(columns, "requests_target", index),
      },
      { name: "chains", colour: "chains", y: perSecond((columns, index) => acrossChains(columns, "count", index)) },
      {
        name: "chains",
        variant: "target",
        colour: "chains",
        dash: DASHED,
        y: (columns, index) => at(columns, "chains_target", index),
      },
    ],
  },
  {
    id: "response-time",
    title: "Response time by chain",
    unit: "log; percentiles of at most 1 min",
    format: duration,
    scale: "log",
    views: [
      { id: "percentiles", label: "p50, p95" },
      { id: "tail", label: "to p99" },
      { id: "parts", label: "CA’s part" },
      { id: "mean", label: "mean" },
    ],
    lines: CHAINS.flatMap((chain) =>
      TIMES.map(({ view, variant, column, dash }): Line => ({
        name: chain,
        variant,
        view,
        colour: `chain-${chain}`,
        ...(dash === undefined ? {} : { dash }),
        ...(DEFAULT_WEIGHTS[chain] === 0 ? { optional: true } : {}),
        y: (columns, index) => at(columns, `${chain}.${column}`, index),
      })),
    ),
  },
  {
    id: "errors",
    title: "Failures",
    unit: "per second",
    format: wholeRate,
    scale: "linear",
    views: [],
    lines: [
      {
        name: "requests",
        colour: "bad",
        filled: true,
        y: perSecond((columns, index) => at(columns, "requests_failed", index)),
      },
      { name: "chains", colour: "chains", y: perSecond((columns, index) => acrossChains(columns, "failed", index)) },
    ],
  },
  {
    id: "workers",
    title: "Workers",
    unit: "alive, busy, asked for",
    format: (value) => (value === null ? NONE : brief(rate(value))),
    scale: "linear",
    views: [],
    lines: [
      { name: "alive", colour: "requests", filled: true, y: (columns, index) => at(columns, "workers", index) },
      { name: "busy", colour: "chains", y: (columns, index) => at(columns, "busy", index) },
      {
        name: "asked for",
        colour: "accent",
        dash: DASHED,
        y: (columns, index) => at(columns, "workers_target", index),
      },
    ],
  },
  {
    id: "lag",
    title: "The load tester’s own lag",
    unit: "log",
    format: duration,
    scale: "log",
    views: [],
    lines: [
      { name: "largest", colour: "requests", y: (columns, index) => at(columns, "lag_max_ns", index) },
      { name: "p99", colour: "chains", y: (columns, index) => at(columns, "lag_p99_ns", index) },
    ],
  },
];

export const VALIDATIONS: Chart = {
  id: "validations",
  title: "Validations at the challenge server",
  unit: "per second",
  format: wholeRate,
  scale: "linear",
  views: [],
  lines: [{ name: "validations", colour: "hits", filled: true, y: perSecond((columns, index) => at(columns, "hits", index)) }],
};

const kibPerSecond = (column: "bytes_sent" | "bytes_received") =>
  perSecond((columns, index) => {
    const value = at(columns, column, index);
    return value === null ? null : value / 1024;
  });

export const TRANSFER: Chart = {
  id: "transfer",
  title: "Transfer",
  unit: "KiB per second",
  format: wholeRate,
  scale: "linear",
  views: [],
  lines: [
    { name: "received", colour: "requests", filled: true, y: kibPerSecond("bytes_received") },
    { name: "sent", colour: "chains", y: kibPerSecond("bytes_sent") },
  ],
};

export const STATE: Chart = {
  id: "state",
  title: "State store over time",
  unit: "objects, by the requesters’ latest report",
  format: (value) => (value === null ? NONE : count(value)),
  scale: "linear",
  views: [],
  lines: [
    { name: "registrations", colour: "chain-registration", y: (columns, index) => at(columns, "registrations", index) },
    { name: "ready orders", colour: "chain-authorization", y: (columns, index) => at(columns, "authorizations", index) },
    { name: "certificates", colour: "chain-certificate", filled: true, y: (columns, index) => at(columns, "certificates", index) },
  ],
};

/** Failed chains by class, a line for each class of which there are any; the first six. */
export function classesChart(classes: readonly string[]): Chart {
  return {
    id: "classes",
    title: "Failed chains by class",
    unit: "per second",
    format: wholeRate,
    scale: "linear",
    views: [],
    lines: classes.slice(0, 6).map((name, n) => ({
      name,
      colour: `class-${n}`,
      ...CLASS_DASHES[n],
      y: perSecond((columns, index) => columns.classes[name]?.[index] ?? 0),
    })),
  };
}

/**
 * The view to draw before a person chooses one: the first if its lines have values at half as many points as those of
 * the last, otherwise the last. A CA with fewer than 20 samples a minute has means, but no medians.
 */
export function firstView(chart: Chart, columns: Columns, from: number, to: number): string | undefined {
  const [first, last] = [chart.views[0], chart.views.at(-1)];
  /** Points with a value of whole lines. */
  const points = (view: string | undefined) => {
    let found = 0;
    for (const line of chart.lines.filter((line) => line.view === view && line.dash === undefined)) {
      for (let index = from; index < to; index += 1) found += line.y(columns, index) === null ? 0 : 1;
    }
    return found;
  };
  return points(first?.id) * 2 >= points(last?.id) ? first?.id : last?.id;
}
