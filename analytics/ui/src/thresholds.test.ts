import { describe, expect, it } from "vitest";

import { amount, basis, limitLines, overall, verdict } from "./thresholds";
import type { ThresholdResult } from "./wire";

const threshold = (changes: Partial<ThresholdResult>): ThresholdResult => ({
  expression: "chain.certificate{p(99)} < 2s",
  unit: "ns",
  value: 1.31e9,
  limit: 2e9,
  passed: true,
  n: 4_200,
  windows: null,
  windows_failed: null,
  worst_unix_ns: null,
  aborted: false,
  ...changes,
});
const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, " ");

describe("a threshold", () => {
  it.each([
    [{}, "holds", "passed"],
    [{ passed: false }, "fails", "failed"],
    // A failed window stays failed, and so does the threshold that ended the run.
    [{ passed: false, windows: 9, windows_failed: 1 }, "failed", "failed"],
    [{ passed: false, aborted: true }, "failed", "failed"],
    [{ passed: null, value: null }, "undecided", "undecided: not passed"],
  ] as const)("%j", (changes, live, over) => {
    expect(verdict(threshold(changes), false)).toBe(live);
    expect(verdict(threshold(changes), true)).toBe(over);
  });

  it.each([
    [1.31e9, "ns", "1.31 s"],
    [0.981055, "share", "98.11 %"],
    [0.98, "share", "98 %"],
    [1234, "count", "1 234"],
    [49.876, "per-second", "49.88/s"],
    [null, "ns", "–"],
  ] as const)("%s as %s is %s", (value, unit, text) => {
    expect(plain(amount(value, unit))).toBe(text);
  });

  it("is not rounded onto its limit", () => {
    expect(plain(amount(0.01001, "share", 0.01))).toBe("1.001 %");
    expect(plain(amount(0.0183, "share", 0.01))).toBe("1.83 %");
    expect(plain(amount(0.01, "share", 0.01))).toBe("1 %");
  });

  it("says what it was judged by, or why it was not", () => {
    const said = (changes: Partial<ThresholdResult>) => plain(basis(threshold(changes)));
    expect(said({})).toBe("N 4 200");
    expect(said({ value: null, passed: null, n: 12 })).toBe("too few samples: N 12");
    expect(said({ expression: "rate{achieved/target} > 0.98", unit: "share", value: null, passed: null })).toBe("no target was set");
    expect(said({ unit: "count", value: 3 })).toBe("");
    expect(said({ windows: 28, windows_failed: 2, worst_unix_ns: 1.7e18 })).toMatch(
      /^worst of 28 windows at \d\d:\d\d:\d\d, N 4 200; 2 failed$/,
    );
    expect(said({ windows: 0, windows_failed: 0, value: null, passed: null })).toBe("no full window had enough samples yet");
  });
});

it("says in a line how all thresholds stand", () => {
  const all = [threshold({}), threshold({ passed: false }), threshold({ passed: null })];
  expect(overall([threshold({})], false)).toBe("all hold");
  expect(overall([threshold({})], true)).toBe("all passed");
  expect(overall(all, false)).toBe("1 of 3 does not hold, 1 undecided");
  expect(overall(all.slice(0, 2), true)).toBe("1 of 2 failed");
});

it("limits of chains' times are lines in their chart, other thresholds are not", () => {
  const lines = limitLines([
    threshold({ expression: "chain.certificate{p(95)} < 60ms over 30s", limit: 6e7 }),
    threshold({ expression: "requests{failed} < 1%", unit: "share", limit: 0.01 }),
    threshold({ expression: "chain.revoke{count} > 5", unit: "count", limit: 5 }),
  ]);
  expect(lines).toEqual([{ chain: "certificate", at: 6e7, label: "p(95) < 60.0\u00a0ms" }]);
});
