// Which time is shown: the axis of the charts, and the part of the run whose figures the tables have. Pure.
// Seconds since the Unix epoch, unless a name says otherwise.

import type { Period } from "./address";
import { span } from "./format";

/** The times of a run. */
export interface RunTimes {
  started: number;
  /** The time up to which all records have arrived. */
  until: number;
  ended: boolean;
}

/** The choices beside a part of one's own. */
export const PERIODS: readonly { last: number; label: string }[] = [
  { last: 120, label: "2 min" },
  { last: 600, label: "10 min" },
  { last: Infinity, label: "whole run" },
];

/** The shortest axis, seconds. */
const SHORTEST = 20;

/** The period that is shown where nobody has chosen one: all of a run that is over, the last two minutes of another. */
export function chosen(period: Period | null, { ended }: RunTimes): Period {
  return period ?? { last: ended ? Infinity : 120 };
}

/** Begin and end of the time axis, which all charts share. */
export function axisOf(period: Period, { started, until }: RunTimes): [number, number] {
  if ("from" in period) return [started + period.from, started + period.to];
  return [Math.max(until - period.last, Math.min(started, until - SHORTEST)), Math.max(until, started + SHORTEST)];
}

/** How often the figures of the latest seconds of a run that goes on are fetched. */
export const ROLLING_MS = 5_000;

/** Whether the period moves with the run, so that its figures are fetched again and again. */
export function rolls(period: Period, { started, until, ended }: RunTimes): boolean {
  return !ended && "last" in period && period.last < until - started;
}

/** The part whose figures are wanted, nanoseconds after the run's start; null for the figures of the whole run. */
export function partOf(period: Period, { started, until }: RunTimes): { from_ns: number; to_ns: number } | null {
  if ("from" in period) return { from_ns: Math.round(period.from * 1e9), to_ns: Math.round(period.to * 1e9) };
  const length = until - started;
  if (period.last >= length) return null;
  return { from_ns: Math.round((length - period.last) * 1e9), to_ns: Math.round(length * 1e9) + 1 };
}

/** A part of an axis as a period, to a tenth of a second; null if it is too short or not within the run. */
export function zoomed(from: number, to: number, { started, until }: RunTimes): Period | null {
  const tenth = (value: number) => Math.round(value * 10) / 10;
  const [low, high] = [tenth(Math.max(0, Math.min(from, to) - started)), tenth(Math.min(until, Math.max(from, to)) - started)];
  return high - low >= 1 ? { from: low, to: high } : null;
}

/** A period in words: `1:00 to 1:30 of the run`. */
export function periodSaid(period: Period): string {
  if ("from" in period) return `${span(period.from * 1e9)} to ${span(period.to * 1e9)} of the run`;
  return period.last === Infinity ? "whole run" : `last ${span(period.last * 1e9)}`;
}
