// A capacity search: the knee so far, and the curve of response times over rates.

import { brief, duration, rate } from "./format";
import { logTicks } from "./scale";
import type { CapacityStep, CapacityView } from "./wire";

export const VERDICTS: Record<CapacityStep["verdict"], string> = {
  sustained: "✓ sustained",
  failed: "✗ failed",
  "ca-down": "✗ CA down",
  "generator-limited": "? load tester limited",
};

/** The interval in which the knee is known to be. */
export function bracket({ sustained, failed, over }: CapacityView): string {
  const yet = over ? "" : " so far";
  if (sustained !== null && failed !== null) return `The knee is between ${rate(sustained)} and ${rate(failed)} chains/s${yet}.`;
  if (sustained !== null) return `${rate(sustained)} chains/s are sustained${yet}; no rate has failed.`;
  if (failed !== null) return `Not even ${rate(failed)} chains/s are sustained${yet}.`;
  return over ? "No step has ended." : "No step has ended yet.";
}

export interface Point {
  /** From 0 at the lowest rate, or shortest time, to 1; both logarithmic. */
  x: number;
  y: number;
  step: CapacityStep;
}

/** The steps with a median in the order of rates, as points of a curve of `p50_ns` or `p95_ns`; both have one scale. */
export function curve(steps: readonly CapacityStep[], key: "p50_ns" | "p95_ns"): Point[] {
  const [times, rates] = [timesOf(steps), steps.map((step) => step.rate)];
  return steps
    .flatMap((step) => {
      const ns = step[key];
      return ns === null ? [] : [{ x: placeOf(step.rate, rates), y: placeOf(ns, times), step }];
    })
    .sort((a, b) => a.x - b.x);
}

/** The points that a line joins: of each rate the latest step, so that a rate that was tried again is no upright line. */
export function joined(points: readonly Point[]): Point[] {
  return points.filter(({ x }, n) => points[n + 1]?.x !== x);
}

export interface Tick {
  label: string;
  /** Place on the axis, from 0 to 1. */
  at: number;
}

/** Round values along both axes, or the ends of one that has fewer than two of them. */
export function ticks(steps: readonly CapacityStep[]): { rates: Tick[]; times: Tick[] } {
  const along = (values: readonly number[], label: (value: number) => string): Tick[] => {
    if (values.length === 0) return [];
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const round = logTicks(low, high, 6).filter((tick) => tick >= low && tick <= high);
    return (round.length < 2 ? [...new Set([low, high])] : round).map((value) => ({ label: label(value), at: placeOf(value, values) }));
  };
  return { rates: along(steps.map((step) => step.rate), rate), times: along(timesOf(steps), (ns) => brief(duration(ns))) };
}

function timesOf(steps: readonly CapacityStep[]): number[] {
  return steps.flatMap((step) => [step.p50_ns, step.p95_ns]).filter((ns) => ns !== null);
}

/** The place of a value between the least and the most of these, logarithmic. */
function placeOf(value: number, among: readonly number[]): number {
  const [low, high] = [Math.log(Math.min(...among)), Math.log(Math.max(...among))];
  return high > low ? (Math.log(value) - low) / (high - low) : 0.5;
}
