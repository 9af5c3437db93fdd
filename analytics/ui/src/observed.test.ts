import { describe, expect, it } from "vitest";

import { MOST, chartsOf, short } from "./observed";
import { merge } from "./series";
import { series } from "./testing";
import type { ObservedFigures, ObservedSeries } from "./wire";

const observed = (name: string): ObservedSeries => ({
  source: "ca",
  name,
  measure: "value",
  step_s: 1,
  at_unix_ns: [100.4e9, 102.4e9],
  values: [7, 9],
});
const figures = (name: string, rank_correlation: number | null): ObservedFigures => ({
  source: "ca",
  name,
  measure: "value",
  samples: 2,
  mean: 8,
  min: 7,
  max: 9,
  points: 2,
  rank_correlation,
});

describe("observed series", () => {
  it("are charts in the order of the figures, with gaps where there is no sample", () => {
    const charts = chartsOf([observed("a"), observed("b")], [figures("b", -0.914), figures("a", null), figures("c", null)]);
    expect(charts.map(({ title, unit }) => [title, unit])).toEqual([
      ["ca b", "value, rank correlation -0.91"],
      ["ca a", "value"],
    ]);
    const columns = merge(null, series([100, 101, 102]));
    expect(columns.at.map((_, index) => charts[0]?.lines[0]?.y(columns, index))).toEqual([7, null, 9]);
    const wide = merge(null, series([100, 102], { step: 2 }));
    expect(wide.at.map((_, index) => charts[0]?.lines[0]?.y(wide, index))).toEqual([7, 9]);
  });

  it("are bounded in number", () => {
    const names = Array.from({ length: 20 }, (_, n) => `s${n}`);
    const charts = chartsOf(
      names.map(observed),
      names.map((name) => figures(name, null)),
    );
    expect(charts.length).toBe(MOST);
  });

  it("have short numbers", () => {
    expect([null, 0, 7, 0.12345, 1234.5, 61693952, 2.5e9].map(short)).toEqual(["–", "0", "7", "0.123", "1.23 k", "61.7 M", "2.50 G"]);
  });
});
