// How the times of a row are distributed: the bars of a histogram, and the cells of a heat map over time. Pure.

import { duration, share } from "./format";
import { logTicks } from "./scale";
import type { DistributionCell, DistributionView } from "./wire";

/** Where something is on an axis of times, which is logarithmic: 0 at its start, 1 at its end. */
export interface TimeAxis {
  low: number;
  high: number;
  place: (ns: number) => number;
  ticks: { ns: number; label: string; at: number }[];
}

/** The axis that has all cells; null without any. */
export function axisOf(cells: readonly DistributionCell[], ticks = 8): TimeAxis | null {
  const [first, last] = [cells[0], cells.at(-1)];
  if (first === undefined || last === undefined) return null;
  const [low, high] = [Math.max(1, first.from_ns), Math.max(2, last.to_ns)];
  const place = (ns: number) => Math.min(1, Math.max(0, Math.log(Math.max(1, ns) / low) / Math.log(high / low)));
  const found = logTicks(low, high, ticks).filter((ns) => ns >= low && ns <= high);
  return { low, high, place, ticks: found.map((ns) => ({ ns, label: duration(ns).replace(/\.0+(?=\D)/, ""), at: place(ns) })) };
}

export interface Bar {
  from: number;
  width: number;
  /** Of the highest one. */
  height: number;
  /** `4.19–4.72 ms: 17 (3.2 %)`. */
  said: string;
  cell: DistributionCell;
  /** The share of this bar and those before it. */
  upTo: number;
}

/** A bar for each cell; an empty cell between two has none. */
export function barsOf(cells: readonly DistributionCell[]): Bar[] {
  const axis = axisOf(cells);
  if (axis === null) return [];
  const most = Math.max(...cells.map(({ count }) => count));
  const all = cells.reduce((sum, { count }) => sum + count, 0);
  let before = 0;
  return cells.map((cell) => {
    const from = axis.place(cell.from_ns);
    before += cell.count;
    return {
      from,
      width: axis.place(cell.to_ns) - from,
      height: cell.count / most,
      said: `${duration(cell.from_ns)} to ${duration(cell.to_ns)}: ${cell.count} (${share(cell.count / all)})`,
      cell,
      upTo: before / all,
    };
  });
}

export interface HeatCell {
  /** Start and width on the axis of time, and on that of durations; of 1. */
  x: number;
  width: number;
  y: number;
  height: number;
  /** 0 to 1. A root, so that few times beside many can be seen. */
  heat: number;
  at: number;
  cell: DistributionCell;
}

export interface HeatMap {
  cells: HeatCell[];
  axis: TimeAxis;
  /** Seconds since the Unix epoch. */
  from: number;
  to: number;
  most: number;
}

/** The heat map of a row; null if it has none. */
export function heatOf({ over_time, step_s }: Pick<DistributionView, "over_time" | "step_s">): HeatMap | null {
  const all = over_time.flatMap(({ cells }) => cells);
  const [first, last] = [over_time[0], over_time.at(-1)];
  if (first === undefined || last === undefined || all.length === 0) return null;
  const axis = axisOf([...all].sort((a, b) => a.from_ns - b.from_ns), 5);
  if (axis === null) return null;
  const [from, to] = [first.at_unix_s, last.at_unix_s + step_s];
  const most = Math.max(...all.map(({ count }) => count));
  const cells = over_time.flatMap(({ at_unix_s, cells }) =>
    cells.map((cell): HeatCell => {
      const y = axis.place(cell.from_ns);
      return { x: (at_unix_s - from) / (to - from), width: step_s / (to - from), y, height: axis.place(cell.to_ns) - y, heat: Math.sqrt(cell.count / most), at: at_unix_s, cell };
    }),
  );
  return { cells, axis, from, to, most };
}

/** The cell under a point, x and y of 1. */
export function heatAt(map: HeatMap, x: number, y: number): HeatCell | undefined {
  return map.cells.find((cell) => x >= cell.x && x < cell.x + cell.width && y >= cell.y && y < cell.y + cell.height);
}

/** A stretch of a heat map in figures. */
export interface HeatRow {
  /** Its start, seconds since the Unix epoch. */
  at: number;
  count: number;
  /** The shortest, the most frequent and the longest cell; null without any times. */
  shortest: DistributionCell | null;
  often: DistributionCell | null;
  longest: DistributionCell | null;
}

/** The heat map as at most `rows` rows of a table, neighbours together. */
export function heatRows({ over_time }: Pick<DistributionView, "over_time">, rows = 20): HeatRow[] {
  const every = Math.max(1, Math.ceil(over_time.length / rows));
  return Array.from({ length: Math.ceil(over_time.length / every) }, (_, row) => {
    const together = over_time.slice(row * every, (row + 1) * every);
    const sums = new Map<number, DistributionCell>();
    for (const cell of together.flatMap(({ cells }) => cells)) {
      sums.set(cell.from_ns, { ...cell, count: cell.count + (sums.get(cell.from_ns)?.count ?? 0) });
    }
    const cells = [...sums.values()].sort((a, b) => a.from_ns - b.from_ns);
    const often = cells.reduce<DistributionCell | null>((most, cell) => (most === null || cell.count > most.count ? cell : most), null);
    const count = cells.reduce((sum, cell) => sum + cell.count, 0);
    return { at: together[0]?.at_unix_s ?? 0, count, shortest: cells[0] ?? null, often, longest: cells.at(-1) ?? null };
  });
}
