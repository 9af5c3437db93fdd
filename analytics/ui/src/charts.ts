// The charts, declared as data; ChartPanel.svelte draws any of them.

import { NONE, brief, count, duration, rate } from "./format";
import { acrossChains, at, type Columns } from "./series";
import { DEFAULT_WEIGHTS } from "./chains";
import { CHAINS } from "./wire";

/** A custom property of tokens.css or chains.css, without its dashes. */
export type Colour = "requests" | "chains" | "bad" | "hits" | `class-${number}` | `chain-${(typeof CHAINS)[number]}`;

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
  dashed?: true;
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
  views: { id: string; label: string; title: string }[];
  lines: Line[];
}

/** Counts in buckets of a second are whole numbers, so decimals are left out. */
const wholeRate = (value: number | null) => brief(rate(value));

const perSecond =
  (of: (columns: Columns, index: number) => number | null) =>
  (columns: Columns, index: number): number | null => {
    const value = of(columns, index);
    return value === null ? null : value / columns.step;
  };

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
        dashed: true,
        y: (columns, index) => at(columns, "requests_target", index),
      },
      { name: "chains", colour: "chains", y: perSecond((columns, index) => acrossChains(columns, "count", index)) },
      {
        name: "chains",
        variant: "target",
        colour: "chains",
        dashed: true,
        y: (columns, index) => at(columns, "chains_target", index),
      },
    ],
  },
  {
    id: "response-time",
    title: "Response time by chain",
    unit: "log",
    format: duration,
    scale: "log",
    views: [
      {
        id: "percentiles",
        label: "p50, p95",
        title: "Median (line) and 95th percentile (dashed). Drawn where a point has 20 and 200 samples.",
      },
      {
        id: "tail",
        label: "p95, p99",
        title: "95th percentile (line) and 99th (dashed). Drawn where a point has 200 and 1,000 samples.",
      },
      {
        id: "parts",
        label: "CA’s part",
        title: "Mean of the whole time (line), and of its part that the CA and the network used (dashed): the rest is waiting and the load tester.",
      },
      { id: "mean", label: "mean", title: "Arithmetic mean; needs one sample a point." },
    ],
    lines: CHAINS.flatMap((chain) => ([
      {
        name: chain,
        variant: "p50",
        view: "percentiles",
        colour: `chain-${chain}`,
        y: (columns, index) => at(columns, `${chain}.p50_ns`, index),
      },
      {
        name: chain,
        variant: "p95",
        view: "percentiles",
        colour: `chain-${chain}`,
        dashed: true,
        y: (columns, index) => at(columns, `${chain}.p95_ns`, index),
      },
      {
        name: chain,
        variant: "p95",
        view: "tail",
        colour: `chain-${chain}`,
        y: (columns, index) => at(columns, `${chain}.p95_ns`, index),
      },
      {
        name: chain,
        variant: "p99",
        view: "tail",
        colour: `chain-${chain}`,
        dashed: true,
        y: (columns, index) => at(columns, `${chain}.p99_ns`, index),
      },
      {
        name: chain,
        variant: "whole",
        view: "parts",
        colour: `chain-${chain}`,
        y: (columns, index) => at(columns, `${chain}.mean_ns`, index),
      },
      {
        name: chain,
        variant: "CA",
        view: "parts",
        colour: `chain-${chain}`,
        dashed: true,
        y: (columns, index) => at(columns, `${chain}.ca_mean_ns`, index),
      },
      {
        name: chain,
        variant: "mean",
        view: "mean",
        colour: `chain-${chain}`,
        y: (columns, index) => at(columns, `${chain}.mean_ns`, index),
      },
    ] satisfies Line[]).map((line) => ({ ...line, optional: DEFAULT_WEIGHTS[chain] === 0 }))),
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
        colour: "chain-registration",
        dashed: true,
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
      ...(n % 2 === 1 ? { dashed: true as const } : {}),
      y: perSecond((columns, index) => columns.classes[name]?.[index] ?? 0),
    })),
  };
}

/**
 * The view to draw before a person chooses one: the first in which every line has values at half of its points or
 * more, otherwise the last. A CA with fewer than 20 samples a second has means, but few medians.
 */
export function firstView(chart: Chart, columns: Columns, from: number, to: number): string | undefined {
  const values = (line: Line) => {
    let found = 0;
    for (let index = from; index < to; index += 1) found += line.y(columns, index) === null ? 0 : 1;
    return found;
  };
  const last = chart.views.at(-1);
  const most = new Map(chart.lines.filter((line) => line.view === last?.id).map((line) => [line.name, values(line)]));
  // Views between the first and the last are for those who ask.
  const whole = chart.views.slice(0, 1).find((view) => {
    const main = chart.lines.filter((line) => line.view === view.id && !line.dashed);
    return main.every((line) => values(line) * 2 >= (most.get(line.name) ?? 0));
  });
  return (whole ?? last)?.id;
}
