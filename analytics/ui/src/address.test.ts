import { describe, expect, it } from "vitest";

import { CURRENT, pathOf, placeOf, queryOf, START, TABS, type Place } from "./address";

describe("a place", () => {
  const places: [string, Partial<Place>][] = [
    ["?", {}],
    ["?run=20261121-095602", { run: "20261121-095602" }],
    ["?tab=failures", { tab: "failures" }],
    ["?last=120", { period: { last: 120 } }],
    ["?last=run", { period: { last: Infinity } }],
    ["?run=a&tab=statistics&from=60&to=90.5&row=chain+refresh", { run: "a", tab: "statistics", period: { from: 60, to: 90.5 }, row: "chain refresh" }],
    ["?tab=runs&compare=a%2Cb", { tab: "runs", compare: ["a", "b"] }],
  ];
  it.each(places)("of %s is written as it is read", (query, place) => {
    expect(placeOf(query)).toEqual({ ...START, ...place });
    expect(queryOf(place)).toBe(query);
  });

  it.each(["?from=9&to=3", "?from=1", "?from=x&to=3", "?last=0", "?last=-1", "?tab=nothing", "?from=&to=3"])("leaves out what cannot be read: %s", (query) => {
    expect(placeOf(query)).toEqual(START);
  });

  it("of an earlier version's list of runs is the tab of runs", () => {
    expect(placeOf("?view=runs").tab).toBe("runs");
  });

  it("has at most as many runs to compare as fit, each once", () => {
    expect(placeOf("?tab=runs&compare=a,b,a,,c,d,e,f").compare).toEqual(["a", "b", "c", "d", "e"]);
    expect(queryOf({ tab: "failures", compare: ["a", "b"] })).toBe("?tab=failures");
  });

  it("with an empty run is the current one", () => {
    expect(placeOf("?run=").run).toBe(CURRENT);
  });

  it("keeps a run whose id has other characters", () => {
    expect(placeOf(queryOf({ run: "a b&c=d/ü" })).run).toBe("a b&c=d/ü");
    expect(pathOf("a b&c=d/ü")).toBe("api/v1/runs/a%20b%26c%3Dd%2F%C3%BC");
  });
});

it("every tab has a place of its own", () => {
  expect(new Set(TABS.map(({ id }) => queryOf({ tab: id }))).size).toBe(TABS.length);
});
