import { describe, expect, it } from "vitest";

import { doing, phaseOf, place, SPEEDS, speeds, stepOf } from "./replay";
import type { ReplayView } from "./wire";

const replay = (over: Partial<ReplayView> = {}): ReplayView => ({
  state: "playing",
  speed: 10,
  started_unix_ns: 5e18,
  position_ns: 65e9,
  length_ns: 200e9,
  seeking: false,
  ...over,
});

describe("a replay", () => {
  it("says what it is doing", () => {
    expect(doing(replay())).toBe("playing ×10");
    expect(doing(replay({ state: "paused" }))).toBe("paused");
    expect(doing(replay({ state: "ended" }))).toBe("at the end");
    expect(doing(replay({ state: "paused", seeking: true }))).toBe("reading the log");
    expect(place(65e9, 200e9)).toBe("1:05 of 3:20");
  });

  it("offers the speed that it has", () => {
    expect(speeds(10)).toEqual(SPEEDS);
    expect(speeds(7.5).filter((speed) => speed > 5 && speed < 30)).toEqual([7.5, 10]);
  });

  it("has final figures at its end only", () => {
    expect(phaseOf("live", replay({ state: "ended" }))).toBe("ended");
    expect(phaseOf("live", replay())).toBe("live");
    expect(phaseOf("lost", replay({ state: "ended" }))).toBe("lost");
    expect(phaseOf("live", null)).toBe("live");
  });

  it("moves by a second, in a short run by less", () => {
    expect([stepOf(3600e9), stepOf(20e9), stepOf(0)]).toEqual([1e9, 1e8, 1e6]);
  });
});
