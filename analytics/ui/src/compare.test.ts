import { describe, expect, it } from "vitest";

import { changeOf, figuresOf, valueOf } from "./compare";
import type { Comparison, Difference } from "./wire";

const difference = (of: Partial<Difference>): Difference => ({
  chain: true,
  name: "certificate",
  method: "",
  uri: "",
  figure: "p95",
  unit: "ns",
  before: 4e6,
  after: 5e6,
  n_before: 1000,
  n_after: 1000,
  change: { scale: "relative", value: 0.25, low: 0.1, high: 0.4 },
  verdict: "worse",
  ...of,
});
const comparison = (differences: Difference[]): Comparison => ({ version: 1, before: ["a"], after: ["b"], warnings: [], differences, rules: [], about: "" });
const all = { endpoints: true, differing: false };

describe("runs side by side", () => {
  const finalize = difference({ chain: false, name: "finalize", method: "POST", uri: "/finalize/{id}", verdict: "none-shown" });
  const first = comparison([difference({}), finalize]);

  it("have each figure once, with what one of the runs lacks left empty", () => {
    const few = difference({ figure: "p99", before: null, after: 9e6, change: null, verdict: "too-few-samples" });
    const rows = figuresOf([first, comparison([difference({ after: 3e6, verdict: "better" }), few])], all);
    expect(rows.map(({ row, figure, before }) => [row, figure, before])).toEqual([
      ["chain certificate", "p95", "4.00\u00a0ms"],
      ["finalize /finalize/{id}", "p95", "4.00\u00a0ms"],
      ["chain certificate", "p99", "–"],
    ]);
    expect(rows.map(({ after }) => after.map((row) => row?.verdict))).toEqual([["worse", "better"], ["none-shown", undefined], [undefined, "too-few-samples"]]);
  });

  it("can be only chains, and only what differs", () => {
    expect(figuresOf([first], { ...all, endpoints: false }).map(({ row }) => row)).toEqual(["chain certificate"]);
    expect(figuresOf([first], { ...all, differing: true }).map(({ row }) => row)).toEqual(["chain certificate"]);
    expect(figuresOf([comparison([difference({ before: null, after: null })])], all)).toEqual([]);
  });
});

it("values and changes have their units and signs", () => {
  expect([valueOf(null, "ns"), valueOf(2e9, "ns"), valueOf(0.051, "share"), valueOf(12, "per-second")]).toEqual(["–", "2.00\u00a0s", "5.1\u00a0%", "12.0/s"]);
  expect(changeOf({ scale: "relative", value: 2.5, low: -0.1, high: 4 })).toEqual({ value: "+250\u00a0%", between: "−10.0 to +400" });
  expect(changeOf({ scale: "difference", value: 0.0042, low: 0, high: 0.0084 })).toEqual({ value: "+0.42\u00a0pp", between: "0.00 to +0.84" });
  expect(changeOf(null)).toEqual({ value: "–", between: "" });
});
