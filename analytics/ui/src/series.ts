// The window of columns that the charts draw: how updates change it, and which part is shown.
// Pure. All times are the server's; a missing bucket is a gap, not a zero.

import { CHAIN_COLUMNS, CHAINS, COUNT_COLUMNS, LOAD_COLUMNS, type Chain, type ChainSeries, type CountColumn, type LoadColumn, type Series } from "./wire";

type Plain = CountColumn | LoadColumn;

/** One column's name: `requests`, or a chain's, `refresh.p95_ns`. */
export type Column = Plain | `${Chain}.${keyof ChainSeries}`;

type Values = (number | null)[];

/** The series in the page's form: flat, so that all columns are treated in the same way. */
export interface Columns {
  readonly step: number;
  /** Start of each bucket, seconds since the Unix epoch, ascending. */
  readonly at: readonly number[];
  readonly values: Readonly<Record<Column, Readonly<Values>>>;
  /** Failed iterations by class; 0 in a bucket without any. */
  readonly classes: Readonly<Record<string, readonly number[]>>;
}

/** As many buckets as the server keeps. */
export const BOUND = 3600;

const PLAIN: readonly Plain[] = [...COUNT_COLUMNS, ...LOAD_COLUMNS];

export const COLUMNS: readonly Column[] = [
  ...PLAIN,
  ...CHAINS.flatMap((chain) => CHAIN_COLUMNS.map((column): Column => `${chain}.${column}`)),
];

/** A window whose arrays are ours. */
interface OwnColumns {
  step: number;
  at: number[];
  values: Record<Column, Values>;
  classes: Record<string, number[]>;
}

/**
 * The window after an update: everything is replaced if `reset` is set, otherwise each bucket is put at its time,
 * replacing an earlier version. The oldest above the bound are dropped.
 *
 * The window before must not be used any more: its arrays are in the one that is returned. A copy of an hour each second
 * would be megabytes of garbage.
 */
export function merge(window: Columns | null, update: Series, bound = BOUND): Columns {
  if (window === null || update.reset || window.step !== update.step_s) return copyOf(update, bound);
  const { step, at, values, classes } = window as OwnColumns;
  for (const name of Object.keys(update.classes)) classes[name] ??= at.map(() => 0);
  update.at_unix_s.forEach((time, source) => {
    let target = at.length;
    if (time <= (at.at(-1) ?? -Infinity)) {
      target = lowerBound(at, time);
      if (at[target] !== time) {
        at.splice(target, 0, time);
        for (const column of COLUMNS) values[column].splice(target, 0, null);
        for (const column of Object.values(classes)) column.splice(target, 0, 0);
      }
    } else {
      at.push(time);
    }
    for (const column of COLUMNS) values[column][target] = columnOf(update, column)[source] ?? null;
    for (const [name, column] of Object.entries(classes)) column[target] = update.classes[name]?.[source] ?? 0;
  });
  const excess = at.length - bound;
  if (excess > 0) for (const column of [at, ...Object.values(values), ...Object.values(classes)]) column.splice(0, excess);
  // Another object, so that readers notice.
  return { step, at, values, classes };
}

/** A part of the window, first index to one past the last. */
export interface Stretch {
  from: number;
  to: number;
}

/**
 * The buckets inside the `seconds` before `until` (seconds since the Unix epoch) that are complete then.
 * `seconds` may be Infinity.
 */
export function stretch(columns: Columns, until: number, seconds: number): Stretch {
  const to = lowerBound(columns.at, until - columns.step + 1e-6);
  const from = Math.min(to, lowerBound(columns.at, until - columns.step - seconds));
  return { from, to };
}

/** The buckets that begin in a part of time, seconds since the Unix epoch; `to` is excluded. */
export function between(columns: Columns, from: number, to: number): Stretch {
  const first = lowerBound(columns.at, from - columns.step + 1e-6);
  return { from: first, to: Math.max(first, lowerBound(columns.at, to)) };
}

/**
 * A chart's data: times and one array a line, with a null where a bucket is missing, so that no line is drawn
 * across a gap.
 */
export function frame(
  columns: Columns,
  { from, to }: Stretch,
  lines: readonly ((columns: Columns, index: number) => number | null)[],
): [number[], ...Values[]] {
  const times: number[] = [];
  const ys: Values[] = lines.map(() => []);
  for (let index = from; index < to; index += 1) {
    const time = columns.at[index] as number;
    const before = times.at(-1);
    if (before !== undefined && time - before > columns.step * 1.5) {
      times.push(before + columns.step);
      for (const y of ys) y.push(null);
    }
    times.push(time);
    lines.forEach((line, n) => ys[n]?.push(line(columns, index)));
  }
  return [times, ...ys];
}

/** A column's value, null where there is none. */
export function at(columns: Columns, column: Column, index: number): number | null {
  return columns.values[column][index] ?? null;
}

/** The sum of all chains' columns of one kind; null when none has a value. */
export function acrossChains(columns: Columns, kind: "count" | "failed", index: number): number | null {
  let sum: number | null = null;
  for (const chain of CHAINS) {
    const value = at(columns, `${chain}.${kind}`, index);
    if (value !== null) sum = (sum ?? 0) + value;
  }
  return sum;
}

/** Recent sums over a period, and the total length of its buckets. */
export interface Recent {
  seconds: number;
  issued: number;
  requests: number;
  requestsFailed: number;
  chains: number;
  chainsFailed: number;
  hits: number;
}

/** Sums over a period. */
export function recent(columns: Columns, { from, to }: Stretch): Recent {
  const sum: Recent = { seconds: 0, issued: 0, requests: 0, requestsFailed: 0, chains: 0, chainsFailed: 0, hits: 0 };
  for (let index = from; index < to; index += 1) {
    sum.seconds += columns.step;
    sum.issued += at(columns, "issued", index) ?? 0;
    sum.requests += at(columns, "requests", index) ?? 0;
    sum.requestsFailed += at(columns, "requests_failed", index) ?? 0;
    sum.hits += at(columns, "hits", index) ?? 0;
    sum.chains += acrossChains(columns, "count", index) ?? 0;
    sum.chainsFailed += acrossChains(columns, "failed", index) ?? 0;
  }
  return sum;
}

/** The window that has only this update. */
function copyOf(update: Series, bound: number): Columns {
  const from = Math.max(0, update.at_unix_s.length - bound);
  const classes = Object.entries(update.classes).map(([name, column]) => [name, column.slice(from)]);
  return {
    step: update.step_s,
    at: update.at_unix_s.slice(from),
    values: Object.fromEntries(COLUMNS.map((column) => [column, columnOf(update, column).slice(from)])) as Record<Column, Values>,
    classes: Object.fromEntries(classes),
  };
}

function columnOf(series: Series, column: Column): Values {
  if (isPlain(column)) return series[column];
  const [chain, kind] = column.split(".") as [Chain, keyof ChainSeries];
  return series.chains[chain][kind];
}

function isPlain(column: Column): column is Plain {
  return PLAIN.includes(column as Plain);
}

/** Index of the first entry that is not below `wanted`. */
function lowerBound(sorted: readonly number[], wanted: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
