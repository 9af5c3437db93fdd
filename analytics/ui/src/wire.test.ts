import { describe, expect, it } from "vitest";

import { live, series } from "./testing";
import { parseError, parseLive, runTime } from "./wire";

const text = (change: (value: ReturnType<typeof live>) => unknown) => {
  const value = live(series([100]));
  return JSON.stringify(change(value) ?? value);
};

describe("an event from the server", () => {
  it("is read as it came", () => {
    expect(parseLive(text((value) => value))).toEqual(live(series([100])));
  });

  it("may hold keys that this page does not know", () => {
    expect(() => parseLive(text((value) => ({ ...value, later: 1 })))).not.toThrow();
  });

  it.each<[string, (value: ReturnType<typeof live>) => unknown, RegExp]>([
    ["of another version", (value) => ((value.snapshot.version = 2), undefined), /version 2, this page 1: reload/],
    ["without a chain", (value) => (delete (value.snapshot.chains as Partial<typeof value.snapshot.chains>).revoke, undefined), /lacks the chain revoke/],
    ["with a column too short", (value) => (value.series.requests.pop(), undefined), /columns do not fit/],
    ["with a chain's column too short", (value) => (value.series.chains.refresh.p95_ns.pop(), undefined), /columns do not fit/],
    ["with a step of nothing", (value) => ((value.series.step_s = 0), undefined), /columns do not fit/],
    ["that is no object", () => [1], /not an object/],
    ["without a snapshot", (value) => ({ ...value, snapshot: null }), /no snapshot/],
    ["without a time", (value) => ({ ...value, now_unix_ns: null }), /no time/],
  ])("%s is refused with the reason", (_, change, reason) => {
    expect(() => parseLive(text(change))).toThrow(reason);
  });

  it("that is no JSON is refused", () => {
    expect(() => parseLive("<html>")).toThrow();
  });
});

describe("the run's length", () => {
  const of = (scenario: unknown) => {
    const { run } = live(series([])).snapshot;
    return runTime({ ...run, stamp: { ...run.stamp, scenario } });
  };
  it.each([
    [{ run_time: "60s" }, 60e9],
    [{ run_time: "2m 30s" }, 150e9],
    [{ run_time: "1day 1h 500ms" }, 90_000.5e9],
    [{ scenarios: [{ name: "default", run_time: "4m", start_at: "0s", after: null }] }, 240e9],
    [{ scenarios: [{ name: "a", run_time: "10m" }, { name: "b", run_time: "1m", start_at: "30s", after: "a" }] }, 690e9],
    [{ scenarios: [{ name: "a", run_time: "10m", after: "b" }, { name: "b", run_time: "1m", after: "a" }] }, null],
    [{ scenarios: [{ name: "a" }] }, null],
    [{ scenarios: [] }, null],
    [{ run_time: "soon" }, null],
    [{ run_time: "3 fortnights" }, null],
    [{ run_time: "3fortnights" }, null],
    [{ run_time: 60 }, null],
    [{}, null],
    [null, null],
  ])("of %j is %s ns", (scenario, ns) => expect(of(scenario)).toBe(ns));
});

describe("an API error's text", () => {
  it.each([
    ['{"error":"workers is 0 to 1000000"}', "workers is 0 to 1000000"],
    ['{"error":5}', undefined],
    ["<h1>502</h1>", undefined],
  ])("of %s is %s", (body, error) => expect(parseError(body)).toBe(error));
});
