import { describe, expect, it } from "vitest";

import { doing, phaseOf, place, positionOf, SPEEDS, speeds, stepOf, stepsOf } from "./replay";
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

  it("moves by a second, in a short run by less, and reaches both ends", () => {
    expect(positionOf(1, 3600e9)).toBe(1e9);
    expect(positionOf(1, 20e9)).toBe(1e8);
    for (const length of [40_134_355_212, 20e9, 3_600_000_000_001, 1]) {
      expect([positionOf(0, length), positionOf(stepsOf(length), length)]).toEqual([0, length]);
      for (const step of [1, 7, 150, 199]) {
        expect(Number.isInteger(positionOf(step, length))).toBe(true);
        if (length > 1e9) expect(stepOf(positionOf(step, length), length)).toBe(step);
      }
    }
    expect(stepOf(0, 0)).toBe(0);
  });
});
