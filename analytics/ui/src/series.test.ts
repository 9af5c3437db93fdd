import { describe, expect, it } from "vitest";

import { CHAINS } from "./chains";
import { acrossChains, at, between, frame, merge, recent, stretch } from "./series";
import { series } from "./testing";

const requests = (columns: ReturnType<typeof merge>) => columns.values.requests;

describe("an update", () => {
  it("is the whole window at first", () => {
    const window = merge(null, series([100, 101, 102]));
    expect(window.at).toEqual([100, 101, 102]);
    expect(requests(window)).toEqual([10, 11, 12]);
  });

  it("replaces the buckets it repeats and adds the new ones", () => {
    const window = merge(merge(null, series([100, 101])), series([101, 102]));
    expect(window.at).toEqual([100, 101, 102]);
    expect(requests(window)).toEqual([10, 10, 11]);
  });

  it("of late results changes an old bucket and puts a missing one in its place", () => {
    const window = merge(merge(null, series([100, 103])), series([99, 100, 102]));
    expect(window.at).toEqual([99, 100, 102, 103]);
    expect(requests(window)).toEqual([10, 11, 12, 11]);
    expect(window.values["revoke.count"]).toEqual([2, 2, 2, 2]);
  });

  it("that says so makes the page forget what it has", () => {
    const window = merge(merge(null, series([100, 101])), series([500], { reset: true }));
    expect(window.at).toEqual([500]);
  });

  it("of another width makes the page forget what it has", () => {
    const window = merge(merge(null, series([100, 101])), series([200], { step: 2 }));
    expect([window.at, window.step]).toEqual([[200], 2]);
  });

  it("without buckets changes nothing", () => {
    const window = merge(null, series([100]));
    expect(merge(window, series([]))).toEqual(window);
  });

  it("makes another window, of which readers notice, and leaves the update as it was", () => {
    const first = series([100, 101]);
    const before = merge(null, first);
    const after = merge(before, series([99, 101]));
    expect(after).not.toBe(before);
    expect(after.at).toEqual([99, 100, 101]);
    expect(first.at_unix_s).toEqual([100, 101]);
    expect(first.chains.revoke.count).toEqual([2, 2]);
  });

  it("pushes the oldest buckets out beyond the bound", () => {
    const window = merge(merge(null, series([1, 2, 3]), 3), series([4, 5]), 3);
    expect(window.at).toEqual([3, 4, 5]);
    expect(requests(window)).toEqual([12, 10, 11]);
    expect(window.values["refresh.mean_ns"]).toHaveLength(3);
  });
});

describe("a stretch", () => {
  const window = merge(null, series([100, 101, 102, 103, 104]));
  it.each([
    // until, seconds, times
    [105, Infinity, [100, 101, 102, 103, 104]],
    [104.9, Infinity, [100, 101, 102, 103]],
    [105, 2, [102, 103, 104]],
    [104.5, 2, [102, 103]],
    [100.5, 10, []],
    [300, 5, []],
  ])("up to %s of %s s leaves out the bucket that is still filling", (until, seconds, times) => {
    const { from, to } = stretch(window, until, seconds);
    expect(window.at.slice(from, to)).toEqual(times);
  });
});

describe("a frame", () => {
  const value = (columns: ReturnType<typeof merge>, index: number) => at(columns, "requests", index);

  it("has a gap where a bucket is missing, not a zero and not a line across", () => {
    const window = merge(null, series([100, 101, 105, 106]));
    expect(frame(window, { from: 0, to: 4 }, [value])).toEqual([
      [100, 101, 102, 105, 106],
      [10, 11, null, 12, 13],
    ]);
  });

  it("keeps a figure that was withheld as a gap", () => {
    const window = merge(null, series([100, 101]));
    expect(frame(window, { from: 0, to: 2 }, [(columns, index) => at(columns, "revoke.p50_ns", index)])).toEqual([
      [100, 101],
      [null, null],
    ]);
  });

  it("of an empty stretch has no times", () => {
    expect(frame(merge(null, series([])), { from: 0, to: 0 }, [value])).toEqual([[], []]);
  });
});

describe("what happened lately", () => {
  it("is summed over the buckets that are there, and over their time", () => {
    const window = merge(null, series([100, 101, 102]));
    expect(recent(window, { from: 1, to: 3 })).toEqual({ seconds: 2, issued: 10, requests: 23, requestsFailed: 2, chains: 4 * CHAINS.length, chainsFailed: 0, hits: 6 });
  });

  it("is nothing over no time when nothing came", () => {
    expect(recent(merge(null, series([])), { from: 0, to: 0 }).seconds).toBe(0);
  });

  it("counts wide buckets with their width", () => {
    const window = merge(null, series([100, 104], { step: 4 }));
    expect(recent(window, { from: 0, to: 2 }).seconds).toBe(8);
  });
});

it("the chains together are the sum of them all", () => {
  expect(acrossChains(merge(null, series([100], { perChain: 3 })), "count", 0)).toBe(3 * CHAINS.length);
});

describe("failed classes", () => {
  const failing = (at: number[], classes: Record<string, number[]>) => ({ ...series(at), classes });

  it("that are new have none in the buckets before, and one that is missing has none in the new ones", () => {
    const before = merge(null, failing([100, 101], { timeout: [1, 0] }));
    const after = merge(before, failing([101, 102], { problem: [2, 3] }));
    expect(after.classes).toEqual({ timeout: [1, 0, 0], problem: [0, 2, 3] });
  });

  it("keep their place when an old bucket comes late, and leave with the oldest", () => {
    const late = merge(merge(null, failing([100, 102], { timeout: [1, 2] })), failing([101], { timeout: [7] }));
    expect(late.classes).toEqual({ timeout: [1, 7, 2] });
    expect(merge(late, failing([103], {}), 2).classes).toEqual({ timeout: [2, 0] });
  });
});

describe("a part of time", () => {
  const columns = merge(null, series([100, 101, 102, 103]));
  it.each<[number, number, number[]]>([
    [101, 103, [101, 102]],
    [101.5, 102.5, [101, 102]],
    [0, 1000, [100, 101, 102, 103]],
    [50, 60, []],
  ])("from %s to %s has the buckets that overlap it", (from, to, times) => {
    const { from: first, to: end } = between(columns, from, to);
    expect(columns.at.slice(first, end)).toEqual(times);
  });
});
