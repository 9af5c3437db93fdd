// A capacity search: the knee so far, and the curve of response times over rates.

import { rate } from "./format";
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
  const times = steps.flatMap((step) => [step.p50_ns, step.p95_ns]).filter((ns) => ns !== null);
  const place = (value: number, among: readonly number[]) => {
    const [low, high] = [Math.log(Math.min(...among)), Math.log(Math.max(...among))];
    return high > low ? (Math.log(value) - low) / (high - low) : 0.5;
  };
  const rates = steps.map((step) => step.rate);
  return steps
    .flatMap((step) => {
      const ns = step[key];
      return ns === null ? [] : [{ x: place(step.rate, rates), y: place(ns, times), step }];
    })
    .sort((a, b) => a.x - b.x);
}
