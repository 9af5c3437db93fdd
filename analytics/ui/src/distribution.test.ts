import { describe, expect, it } from "vitest";

import { axisOf, barsOf, heatAt, heatOf, heatRows } from "./distribution";

const cell = (from: number, to: number, count: number) => ({ from_ns: from * 1e6, to_ns: to * 1e6, count });

describe("a histogram", () => {
  const bars = barsOf([cell(1, 2, 10), cell(2, 4, 40), cell(8, 16, 50)]);

  it("has bars as wide as their cells on a logarithmic axis, and gaps where there is nothing", () => {
    expect(bars.map(({ from, width }) => [from, width].map((value) => Number(value.toFixed(3))))).toEqual([[0, 0.25], [0.25, 0.25], [0.75, 0.25]]);
    expect(bars.map(({ height }) => height)).toEqual([0.2, 0.8, 1]);
  });

  it("says what each bar has, and the share up to it", () => {
    expect(bars[1]?.said).toBe("2.00\u00a0ms to 4.00\u00a0ms: 40 (40.0\u00a0%)");
    expect(bars.map(({ upTo }) => upTo)).toEqual([0.1, 0.5, 1]);
  });

  it("of nothing has no bars and no axis", () => {
    expect(barsOf([])).toEqual([]);
    expect(axisOf([])).toBeNull();
  });

  it("has round ticks within the axis", () => {
    const ticks = axisOf([cell(1.5, 30, 1)])?.ticks ?? [];
    expect(ticks.map(({ label }) => label)).toEqual(["2\u00a0ms", "5\u00a0ms", "10\u00a0ms", "20\u00a0ms"]);
    expect(ticks.every(({ at }) => at >= 0 && at <= 1)).toBe(true);
  });
});

describe("a heat map", () => {
  const map = heatOf({
    step_s: 2,
    over_time: [
      { at_unix_s: 100, cells: [cell(1, 2, 4)] },
      { at_unix_s: 102, cells: [] },
      { at_unix_s: 104, cells: [cell(1, 2, 1), cell(2, 4, 16)] },
    ],
  });

  it("has a column for each bucket and a row for each length of time", () => {
    expect(map).toMatchObject({ from: 100, to: 106, most: 16 });
    expect(map?.cells.map(({ x, y, heat }) => [x, y, heat].map((value) => Number(value.toFixed(2))))).toEqual([[0, 0, 0.5], [0.67, 0, 0.25], [0.67, 0.5, 1]]);
  });

  it("knows what is under the pointer", () => {
    expect(map && heatAt(map, 0.1, 0.2)?.cell.count).toBe(4);
    expect(map && heatAt(map, 0.5, 0.2)).toBeUndefined();
    expect(map && heatAt(map, 0.9, 0.9)?.at).toBe(104);
  });

  it("is a table, too, of which neighbours are one row", () => {
    const over_time = [
      { at_unix_s: 100, cells: [cell(1, 2, 4)] },
      { at_unix_s: 102, cells: [cell(1, 2, 3), cell(2, 4, 5)] },
      { at_unix_s: 104, cells: [] },
    ];
    const said = (rows: number) => heatRows({ over_time }, rows).map(({ at, count, shortest, often, longest }) => [at, count, shortest?.from_ns, often?.from_ns, longest?.to_ns]);
    const [ms, two, four] = [cell(1, 2, 0).from_ns, cell(2, 4, 0).from_ns, cell(2, 4, 0).to_ns];
    expect(said(3)).toEqual([[100, 4, ms, ms, two], [102, 8, ms, two, four], [104, 0, undefined, undefined, undefined]]);
    expect(said(2)).toEqual([[100, 12, ms, ms, four], [104, 0, undefined, undefined, undefined]]);
  });

  it("of a row that has none is none", () => {
    expect(heatOf({ step_s: 1, over_time: [] })).toBeNull();
    expect(heatOf({ step_s: 1, over_time: [{ at_unix_s: 1, cells: [] }] })).toBeNull();
  });
});
