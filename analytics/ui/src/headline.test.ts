import { describe, expect, it } from "vitest";

import { alarmsOf, failedShare, issuanceTime, issuedRate, loadOf, sparkline, testerOf, verdictOf } from "./headline";
import { live, NO_SCENARIO, NO_TIMING, series } from "./testing";
import type { ThresholdResult } from "./wire";

const run = () => live(series([100, 101]));
const lately = { seconds: 5, issued: 10, requests: 100, requestsFailed: 4, chains: 20, chainsFailed: 1, hits: 0 };
const threshold = (passed: boolean | null): ThresholdResult => ({
  expression: "requests{failed} < 1%",
  unit: "share",
  value: null,
  limit: 0.01,
  passed,
  n: 0,
  windows: null,
  windows_failed: null,
  worst_unix_ns: null,
  aborted: false,
});

describe("issued", () => {
  it("is of the last seconds, and of the whole run when it is over", () => {
    const { snapshot } = run();
    snapshot.issued.per_second = 7;
    expect(issuedRate(snapshot, lately, "live")).toBe("2.00");
    expect(issuedRate(snapshot, null, "live")).toBe("–");
    expect(issuedRate(snapshot, lately, "ended")).toBe("7.00");
  });

  it("has the p95 of an issuance, or says what it lacks", () => {
    const { snapshot } = run();
    const with_ = (timing: Partial<typeof NO_TIMING>) => {
      snapshot.issued.response_time_ns = { ...NO_TIMING, ...timing };
      return issuanceTime(snapshot);
    };
    expect(with_({ n: 12 })).toMatchObject({ label: "Issuance p95", value: "–", note: "N 12; needs 200" });
    expect(with_({ n: 50, p50: 4e6 })).toMatchObject({ label: "Issuance p50", value: "4.00\u00a0ms" });
    expect(with_({ n: 500, p50: 4e6, p95: 9e6 })).toMatchObject({ label: "Issuance p95", value: "9.00\u00a0ms" });
  });
});

it("the failed share is of chains: a retried request has not failed anybody", () => {
  const { snapshot } = run();
  expect(failedShare(snapshot, lately, "live")).toMatchObject({ value: "5.0\u00a0%", tone: "bad" });
  expect(failedShare(snapshot, { ...lately, chainsFailed: 0 }, "live")).toMatchObject({ value: "0\u00a0%", tone: "" });
  expect(failedShare(snapshot, null, "live").value).toBe("–");
});

describe("the load", () => {
  it("is workers where no scenario has a rate", () => {
    expect(loadOf(run(), "live")).toMatchObject({ label: "Workers", value: "50", of: "of 50", asked: "50", unit: "workers", note: "all running" });
  });

  it("is the rate of the running scenarios beside their target", () => {
    const now = run();
    const scenario = { state: "running" as const, workers: 9, rate: 100, rate_unit: "chains", weights: {}, scheduled: false, values: [] };
    if (now.session !== null) now.session.scenarios = { a: scenario, b: { ...scenario, rate: 50 }, c: { ...scenario, rate: 7, state: "ended" } };
    now.snapshot.scenarios = { a: { ...NO_SCENARIO, rate: 80 }, b: { ...NO_SCENARIO, rate: 50 } };
    expect(loadOf(now, "live")).toMatchObject({ label: "Target, chains", value: "130", of: "of 150/s", asked: "150", unit: "chains/s", tone: "accent" });
  });
});

it("the load tester keeps up, or is the limit", () => {
  const { snapshot } = run();
  expect(testerOf(snapshot, "live").value).toBe("–");
  snapshot.generator.lag_ns = { ...NO_TIMING, n: 5, max: 2e5 };
  expect(testerOf(snapshot, "live")).toMatchObject({ value: "keeps up", tone: "good" });
  snapshot.generator = { ...snapshot.generator, limited: true, limited_now: true, limited_ns: 4e9 };
  expect(testerOf(snapshot, "live")).toMatchObject({ value: "is the limit", tone: "accent" });
  expect(testerOf(snapshot, "ended").value).toBe("was the limit");
});

describe("the verdict", () => {
  it.each<[(boolean | null)[], string, string]>([
    [[], "none", ""],
    [[true, true], "✓ 2 of 2", "good"],
    [[true, null], "? 1 of 2", ""],
    [[true, false, null], "✗ 1 of 3", "bad"],
  ])("of %j", (passed, value, tone) => {
    const { snapshot } = run();
    snapshot.thresholds = passed.map(threshold);
    expect(verdictOf(snapshot, "live")).toMatchObject({ value, tone });
  });

  it("of a search is that of each step", () => {
    expect(verdictOf(run().snapshot, "live", true)).toMatchObject({ value: "by step", tone: "" });
  });

  it("of a run whose chain never succeeded is that it fails", () => {
    const { snapshot } = run();
    snapshot.never_succeeded = [{ chain: "revoke", count: 3, why: "" }];
    expect(verdictOf(snapshot, "live")).toMatchObject({ value: "✗ fails", tone: "bad" });
  });
});

it("an alarm names what makes the figures doubtful", () => {
  const now = run();
  const texts = () => alarmsOf(now, "live").map(({ text }) => text);
  expect(texts()).toEqual([]);
  now.health.log_failed = 2;
  expect(texts()).toEqual(["log incomplete"]);
  now.health.log_error = "cannot write the log a.jsonl: No space left on device";
  expect(texts(), "the figures are complete").toEqual(["log cannot be written"]);
  now.health.gaps = 3;
  now.snapshot.generator.limited = true;
  now.snapshot.scenarios = { default: { ...NO_SCENARIO, due: 10, dropped: 5 } };
  expect(texts()).toEqual(["load tester limited", "log cannot be written", "figures incomplete", "dropped"]);
});

it("a sparkline leaves out what is missing", () => {
  expect(sparkline([0, null, 10], 20, 12)).toBe("0.0,11.0 20.0,1.0");
  expect(sparkline([null, 3], 20, 12)).toBe("");
  expect(sparkline([0, 0], 20, 12)).toBe("");
});
