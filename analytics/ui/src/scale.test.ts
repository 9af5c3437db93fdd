import { describe, expect, it } from "vitest";

import { linearRange, logRange, logTicks } from "./scale";

describe("a linear axis", () => {
  it.each([
    [null, 1],
    [0, 1],
    [0.3, 0.4],
    [7, 8],
    [9.6, 15],
    [94, 100],
    [96, 150],
    [812, 1000],
  ])("of data up to %s ends at %s", (max, top) => {
    const [low, high] = linearRange(max);
    expect(low).toBe(0);
    expect(high).toBeCloseTo(top);
  });
});

describe("a logarithmic axis", () => {
  it.each([
    [null, null, 1e6, 1e9],
    [3e6, 40e6, 2e6, 50e6],
    [5e6, 5e6, 2e6, 5e6],
    [1.1e6, 0.9e9, 1e6, 1e9],
    [0, 10, 1, 10],
  ])("of data from %s to %s goes from %s to %s", (min, max, low, high) => {
    const range = logRange(min, max);
    expect(range[0]).toBeCloseTo(low);
    expect(range[1]).toBeCloseTo(high);
  });

  it("has ticks at 1, 2 and 5, and fewer where they would crowd", () => {
    expect(logTicks(1e6, 1e7, 6)).toEqual([1e6, 2e6, 5e6, 1e7]);
    expect(logTicks(1e6, 1e8, 6)).toEqual([1e6, 3e6, 1e7, 3e7, 1e8]);
    expect(logTicks(1, 1e9, 6)).toHaveLength(10);
  });
});
