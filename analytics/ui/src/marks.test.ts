import { describe, expect, it } from "vitest";

import { around, brieflySaid, bundles, bundleSaid, limitedSpans, said, warmUpSpan, who } from "./marks";
import type { Mark } from "./wire";

const mark = (what: string, from: string, to: string, more: Partial<Mark> = {}): Mark => ({
  at_unix_ns: 0,
  by: "page",
  scenario: "default",
  what,
  from,
  to,
  ...more,
});

describe("a change in words", () => {
  it.each<[Mark, string, string]>([
    [mark("workers", "50", "80"), "50 → 80", "workers 50 → 80"],
    [mark("rate", "2.5", "50", { scenario: "burst" }), "2.5/s → 50/s", "burst: rate 2.5/s → 50/s"],
    [mark("state", "running", "paused", { scenario: "" }), "paused", "state running → paused"],
    [mark("state", "paused", "running", { scenario: "" }), "resumed", "state paused → running"],
    [
      mark("weights", "certificate=unset, revoke=1", "certificate=4, revoke=0"),
      "weights",
      "weight of certificate unset → 4, weight of revoke 1 → 0",
    ],
    [mark("answers", "come", "none for 10 s, 4 requests in flight"), "no answers", "answers come → none for 10 s, 4 requests in flight"],
    [mark("limits", "certificates=none", "certificates=7", { scenario: "" }), "limits", "limit of certificates none → 7"],
  ])("is brief and whole", (change, brief, whole) => {
    expect(brieflySaid(change)).toBe(brief);
    expect(said(change)).toBe(whole);
  });

  it("names who made it, also somebody whom this page does not know", () => {
    expect([who(mark("workers", "1", "2")), who(mark("workers", "1", "2", { by: "moon" }))]).toEqual(["a page", "moon"]);
  });
});

it("finds the changes near a time", () => {
  const marks = [10, 20, 21].map((second) => mark("workers", "1", "2", { at_unix_ns: second * 1e9 }));
  expect(around(marks, 20.5, 1)).toEqual(marks.slice(1));
});

describe("changes that coincide", () => {
  const at = (second: number, to: string) => mark("workers", "1", to, { at_unix_ns: second * 1e9 });

  it("are bundled with their number, by the first one's time", () => {
    const found = bundles([at(100, "2"), at(100.5, "3"), at(101, "4"), at(110, "5")], 2);
    expect(found.map((bundle) => [bundle.at, bundleSaid(bundle)])).toEqual([
      [100, "1 → 2 +2"],
      [110, "1 → 5"],
    ]);
  });

  it("lose none, in whatever order they came", () => {
    const all = [at(9, "2"), at(1, "3"), at(5, "4")];
    expect(bundles(all, 3).flatMap(({ marks }) => marks)).toHaveLength(3);
    expect(bundles(all, 3)[0]?.at).toBe(1);
  });
});

it("the warm-up is the first part of a run", () => {
  expect(warmUpSpan({ started_unix_ns: 10e9, warm_up_ns: 4e9 })).toEqual([[10, 14]]);
  expect(warmUpSpan({ started_unix_ns: 10e9 })).toEqual([]);
});

it("the load tester was the limit from a mark to the next, or until now", () => {
  const turned = (second: number, to: string) => mark("generator", "", to, { at_unix_ns: second * 1e9 });
  expect(limitedSpans([turned(10, "limited by cpu"), turned(14, "keeps up"), turned(20, "limited by lag")], 25)).toEqual([
    [10, 14],
    [20, 25],
  ]);
  expect(limitedSpans([turned(10, "keeps up")], 25)).toEqual([]);
});
