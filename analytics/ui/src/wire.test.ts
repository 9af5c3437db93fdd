import { describe, expect, it } from "vitest";

import { live, series } from "./testing";
import { parseError, parseLive } from "./wire";

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
    ["of another version", (value) => ({ ...value, snapshot: { ...value.snapshot, version: 2 } }), /version 2, this page 1: reload/],
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

describe("an API error's text", () => {
  it.each([
    ['{"error":"workers is 0 to 1000000"}', "workers is 0 to 1000000"],
    ['{"error":5}', undefined],
    ["<h1>502</h1>", undefined],
  ])("of %s is %s", (body, error) => expect(parseError(body)).toBe(error));
});
