import { describe, expect, it } from "vitest";

import { bracket, curve, joined, ticks, type Tick } from "./capacity";
import type { CapacityStep, CapacityView } from "./wire";

const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, " ");
const step = (rate: number, p50: number | null, p95: number | null = null): CapacityStep => ({
  rate,
  reached: rate,
  hold: false,
  verdict: "sustained",
  reasons: [],
  p50_ns: p50,
  p95_ns: p95,
  n: 300,
  ended: 300,
  chains_failed: 0,
});
const view = (changes: Partial<CapacityView>): CapacityView => ({
  status: "step 1",
  over: false,
  sustained: null,
  failed: null,
  steps: [],
  ...changes,
});

describe("a search for capacity", () => {
  it.each([
    [{}, /No step has ended yet/],
    [{ sustained: 40 }, /^40.* chains\/s are sustained so far; no rate has failed/],
    [{ sustained: 40, failed: 42.5 }, /knee is between 40.* and 42\.5.* chains\/s so far/],
    [{ sustained: 40, failed: 42.5, over: true }, /chains\/s\.$/],
    [{ failed: 1, over: true }, /Not even 1/],
  ] as const)("says where the knee is: %o", (changes, words) => {
    expect(plain(bracket(view(changes)))).toMatch(words);
  });

  it("draws steps in the order of rates, both percentiles on one scale, and none without a time", () => {
    const steps = [step(10, 10e6, 100e6), step(40, 1000e6), step(20, null), step(5, 10e6)];
    expect(curve(steps, "p50_ns").map(({ x, y, step: { rate } }) => [rate, x, y])).toEqual([
      [5, 0, 0],
      [10, expect.closeTo(1 / 3, 9), 0],
      [40, 1, 1],
    ]);
    expect(curve(steps, "p95_ns").map(({ y }) => y)).toEqual([expect.closeTo(0.5, 9)]);
    expect(curve([step(5, 7e6)], "p50_ns")).toMatchObject([{ x: 0.5, y: 0.5 }]);
  });

  it("joins the latest step of each rate", () => {
    const points = curve([step(10, 10e6), step(20, 90e6), step(20, 40e6)], "p50_ns");
    expect(points).toHaveLength(3);
    expect(joined(points).map(({ step: { rate, p50_ns } }) => [rate, p50_ns])).toEqual([[10, 10e6], [20, 40e6]]);
  });

  it("has round values along its axes, or the ends where there are no two", () => {
    const labels = (...steps: CapacityStep[]) => Object.values(ticks(steps)).map((along: Tick[]) => along.map(({ label }) => label.replaceAll("\u00a0", " ")));
    expect(labels(step(5, 40e6), step(80, 210e6))).toEqual([["5.00", "10.0", "20.0", "50.0"], ["50 ms", "100 ms", "200 ms"]]);
    expect(labels(step(12, 31e6), step(18, 34e6))).toEqual([["12.0", "18.0"], ["31 ms", "34 ms"]]);
    expect(labels(step(12, 31e6))).toEqual([["12.0"], ["31 ms"]]);
    expect(labels()).toEqual([[], []]);
  });
});
