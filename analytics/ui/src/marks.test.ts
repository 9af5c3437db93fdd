import { describe, expect, it } from "vitest";

import { count } from "./format";
import { around, brieflySaid, bundles, bundleSaid, fromOutside, limitedSpans, said, warmUpSpan, who } from "./marks";
import { mark } from "./testing";
import type { MarkValue, MarkView } from "./wire";

const workers = (value: number): MarkValue => ({ kind: "workers", value });
const weight = (chain: string, weight: number | null) => ({ chain, weight });
const certificates = (limit: number | null): MarkValue => ({ kind: "limits", value: [{ objects: "certificates", limit }] });
const text = (value: string): MarkValue => ({ kind: "text", value });

describe("a change in words", () => {
  it.each<[MarkView, string, string]>([
    [mark("workers", workers(50), workers(80)), "50 → 80", "workers 50 → 80"],
    [mark("workers", workers(999), workers(1_000)), `999 → ${count(1_000)}`, `workers 999 → ${count(1_000)}`],
    [mark("rate", { kind: "rate", value: 2.5 }, { kind: "rate", value: 50 }, { scenario: "burst" }), "2.5/s → 50/s", "burst: rate 2.5/s → 50/s"],
    [mark("state", { kind: "state", value: "running" }, { kind: "state", value: "paused" }, { scenario: "" }), "paused", "state running → paused"],
    [mark("state", { kind: "state", value: "paused" }, { kind: "state", value: "running" }, { scenario: "" }), "resumed", "state paused → running"],
    [
      mark(
        "weights",
        { kind: "weights", value: [weight("certificate", null), weight("revoke", 1)] },
        { kind: "weights", value: [weight("certificate", 4), weight("revoke", 0), weight("refresh", 2)] },
      ),
      "weights",
      "weight of certificate unset → 4, weight of revoke 1 → 0, weight of refresh → 2",
    ],
    [
      mark("answers", { kind: "answers", value: { state: "come" } }, { kind: "answers", value: { state: "none-for", seconds: 10, in_flight: 4 } }),
      "no answers",
      "answers come → none for 10 s, 4 requests in flight",
    ],
    [mark("answers", { kind: "answers", value: { state: "none" } }, { kind: "answers", value: { state: "come" } }), "answers again", "answers none → come"],
    [
      mark("generator", { kind: "generator", value: { state: "keeps-up" } }, { kind: "generator", value: { state: "limited", by: ["lag", "cpu"] } }),
      "generator limited by lag, cpu",
      "generator keeps up → limited by lag, cpu",
    ],
    [mark("warm-up", { kind: "warm-up", value: "running" }, { kind: "warm-up", value: "ended" }), "warm-up", "warm-up running → ended"],
    [
      mark("gap", text(""), { kind: "gap", value: { seconds: 12, missing: 300, required: 500, unit: "chains" } }),
      "gap",
      "300 of 500 chains missing for 12 s",
    ],
    [mark("limits", certificates(null), certificates(7_000), { scenario: "" }), "limits", `limit of certificates none → ${count(7_000)}`],
    [mark("note", text(""), text("deployed 1.4"), { scenario: "" }), "note", "note: deployed 1.4"],
    [mark("weather", text("sun"), text("rain"), { scenario: "" }), "weather", "weather sun → rain"],
  ])("is brief and whole", (change, brief, whole) => {
    expect(brieflySaid(change)).toBe(brief);
    expect(said(change)).toBe(whole);
  });

  it("names who made it, also somebody whom this page does not know", () => {
    const by = (by: string) => mark("workers", workers(1), workers(2), { by });
    expect(["page", "moon", "toString"].map((name) => who(by(name)))).toEqual(["a page", "moon", "toString"]);
    expect(["cli", "schedule", "generator", "moon"].map((name) => fromOutside(by(name)))).toEqual([true, false, false, true]);
  });
});

it("finds the changes near a time", () => {
  const marks = [10, 20, 21].map((second) => mark("workers", workers(1), workers(2), { at_unix_ns: second * 1e9 }));
  expect(around(marks, 20.5, 1)).toEqual(marks.slice(1));
});

describe("changes that coincide", () => {
  const at = (second: number, to: number) => mark("workers", workers(1), workers(to), { at_unix_ns: second * 1e9 });

  it("are bundled with their number, by the first one's time", () => {
    const found = bundles([at(100, 2), at(100.5, 3), at(101, 4), at(110, 5)], 2);
    expect(found.map((bundle) => [bundle.at, bundleSaid(bundle)])).toEqual([
      [100, "1 → 2 +2"],
      [110, "1 → 5"],
    ]);
  });

  it("lose none, in whatever order they came", () => {
    const all = [at(9, 2), at(1, 3), at(5, 4)];
    expect(bundles(all, 3).flatMap(({ marks }) => marks)).toHaveLength(3);
    expect(bundles(all, 3)[0]?.at).toBe(1);
  });
});

it("the warm-up is the first part of a run", () => {
  expect(warmUpSpan({ started_unix_ns: 10e9, warm_up_ns: 4e9 })).toEqual([[10, 14]]);
  expect(warmUpSpan({ started_unix_ns: 10e9 })).toEqual([]);
});

it("the load tester was the limit from a mark to the next, or until now", () => {
  const keepsUp: MarkValue = { kind: "generator", value: { state: "keeps-up" } };
  const limited = (by: "cpu" | "lag"): MarkValue => ({ kind: "generator", value: { state: "limited", by: [by] } });
  const turned = (second: number, to: MarkValue) => mark("generator", text(""), to, { at_unix_ns: second * 1e9 });
  expect(limitedSpans([turned(10, limited("cpu")), turned(14, keepsUp), turned(20, limited("lag"))], 25)).toEqual([
    [10, 14],
    [20, 25],
  ]);
  expect(limitedSpans([turned(10, keepsUp)], 25)).toEqual([]);
});
