import { describe, expect, it } from "vitest";

import { brief, bytes, count, duration, interval, rate, retryAfter, share, span, things, visible } from "./format";

/** Expectations are written with ordinary spaces. */
const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, " ");

describe("a duration", () => {
  it.each([
    [null, "–"],
    [0, "0 ns"],
    [999, "999 ns"],
    [1_000, "1.00 µs"],
    [812_345, "812 µs"],
    [999_499, "999 µs"],
    [999_600, "1.00 ms"],
    [4_214_000, "4.21 ms"],
    [9_996_000, "10.0 ms"],
    [42_149_000, "42.1 ms"],
    [999_700_000, "1.00 s"],
    [1_304_000_000, "1.30 s"],
    [61_000_000_000, "61.0 s"],
    [3_600_000_000_000, "1:00:00"],
  ])("of %s ns reads %s", (ns, text) => expect(plain(duration(ns))).toBe(text));
});

describe("what a CA asked to wait", () => {
  it.each([
    [null, null, "–"],
    [3e9, 3e9, "3.00 s"],
    [1e9, 60e9, "1.00 s to 60.0 s"],
  ])("of %s to %s ns reads %s", (min, max, text) =>
    expect(plain(retryAfter({ retry_after_min_ns: min, retry_after_max_ns: max }))).toBe(text));
});

describe("a span", () => {
  it.each([
    [0, "0:00"],
    [-5e9, "0:00"],
    [59.9e9, "0:59"],
    [725e9, "12:05"],
    [3600e9, "1:00:00"],
    [90061e9, "25:01:01"],
  ])("of %s ns reads %s", (ns, text) => expect(span(ns)).toBe(text));
});

describe("a count", () => {
  it.each([
    [0, "0"],
    [999, "999"],
    [1_000, "1 000"],
    [1_234_567, "1 234 567"],
  ])("%s reads %s", (n, text) => expect(plain(count(n))).toBe(text));
});

describe("a rate", () => {
  it.each([
    [null, "–"],
    [0, "0"],
    [0.004, "< 0.01"],
    [0.42, "0.42"],
    [8.151, "8.15"],
    [94.21, "94.2"],
    [812.4, "812"],
    [1240.4, "1 240"],
  ])("%s reads %s", (n, text) => expect(plain(rate(n))).toBe(text));
});

describe("a share", () => {
  it.each([
    [null, "–"],
    [0, "0 %"],
    [0.000_001, "< 0.01 %"],
    [0.000_4, "0.04 %"],
    [0.051, "5.1 %"],
    [0.9999, "> 99.9 %"],
    [1, "100 %"],
  ])("%s reads %s", (of, text) => expect(plain(share(of))).toBe(text));
});

describe("an axis", () => {
  it.each([
    ["30.0 ms", "30 ms"],
    ["1.00 s", "1 s"],
    ["2.50", "2.5"],
    ["100", "100"],
    ["1:00:00", "1:00:00"],
    ["0", "0"],
  ])("writes %s as %s", (figure, text) => expect(brief(figure)).toBe(text));
});

describe("bytes", () => {
  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1536, "1.50 KiB"],
    [104_857_600, "100 MiB"],
  ])("%s read %s", (n, text) => expect(plain(bytes(n))).toBe(text));
});

it("text from elsewhere shows what is not seen", () => {
  expect(visible("ca\u001b]0;x\u0007\u202e\n東京")).toBe("ca\\u001b]0;x\\u0007\\u202e\\u000a東京");
});

it("a noun agrees with its number", () => {
  expect(plain(things(1, "worker"))).toBe("1 worker");
  expect(plain(things(0, "worker"))).toBe("0 workers");
  expect(plain(things(2, "batch", "batches"))).toBe("2 batches");
});

it.each([
  [26_400_000, [26_240_000, 26_560_000], "26.2–26.6"],
  [1_000_000, [998_000, 1_250_000], "1.00–1.25"],
  [812_000, [790_400, 1_010_000], "790–1010"],
  [700e9, [600e9, 800e9], "10:00–13:20"],
] as const)("the interval of %s, %s, is %s", (ns, ends, text) => {
  expect(interval(ns, ends)).toBe(text);
});
