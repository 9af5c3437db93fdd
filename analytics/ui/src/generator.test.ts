import { describe, expect, it } from "vitest";

import { ceiling, distortion, figures, headline, standing } from "./generator";
import { NO_TIMING, live, series } from "./testing";
import type { GeneratorFigures } from "./wire";

const generator = (changes: Partial<GeneratorFigures>): GeneratorFigures => ({
  ...live(series([])).snapshot.generator,
  lag_ns: { ...NO_TIMING, n: 5_000, p99: 210_000, max: 1_500_000 },
  ...changes,
});
const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, " ");

const NEVER = { limited_now: false, limited_ns: 0 };
const MACHINE = { cap: NEVER, machine: { limited_now: true, limited_ns: 12e9 }, wec: NEVER };
const BOTH = { cap: { limited_now: false, limited_ns: 12e9 }, machine: NEVER, wec: { limited_now: false, limited_ns: 4e9 } };

describe("what the load tester says of itself", () => {
  it.each([
    ["unknown", { lag_ns: NO_TIMING }, false, /Not known yet/],
    ["fine", {}, false, /keeps up\.$/],
    ["fine", {}, true, /kept up\.$/],
    ["is", { limited: true, limited_now: true, limited_ns: 12e9, causes: MACHINE }, false, /: other work keeps this machine busy, or has no descriptors, ports or memory left\. Present/],
    ["is", { limited: true, limited_now: true, limited_ns: 12e9, causes: MACHINE }, true, /for 12.0 s: other work kept this machine busy/],
    ["was", { limited: true, limited_ns: 12e9, causes: BOTH }, false, /for 12.0 s: a cap that you set limited the load, and wec itself was at its limit\. The/],
  ] as const)("%s", (expected, changes, over, words) => {
    const figures = generator(changes);
    expect(standing(figures)).toBe(expected);
    expect(plain(headline(figures, over))).toMatch(words);
  });

  it("says how near it comes to a ceiling that was measured, and nothing without one", () => {
    const { run } = live(series([])).snapshot;
    expect(ceiling(run, 100)).toBeUndefined();
    const calibration = {
      version: 1,
      host: "bench",
      program: "wec 0.1.0",
      cpus: 2,
      busy_workers: 60,
      memory_per_worker: null,
      measured_unix_ns: 1,
      chains_per_s: 1_200.4,
      requests_per_s: 5_000,
      kept_up_chains_per_s: 900.5,
      workers: 10_000,
      workers_at_least: true,
    };
    const shown = ceiling({ ...run, stamp: { ...run.stamp, calibration } }, 1_600);
    expect(plain(shown?.value ?? "")).toBe("32.0 %");
    expect(plain(shown?.title ?? "")).toMatch(/5.000 requests\/s, 1.200 chains\/s, keeps up to 900 chains\/s$/);
  });

  it("says what lag adds to response times, where it is a limit", () => {
    expect(distortion(generator({}))).toBeUndefined();
    const found = { p50_ns: 200_000, p50_share: 0.02, p99_ns: 46e6, p99_share: 0.38 };
    expect(plain(distortion(generator({ distortion: found })) ?? "")).toBe(
      "Lag can have added 200 µs to half of the response times (2.0 % of their median) and 46.0 ms to the slowest 1 % (38.0 % of their p99).",
    );
    expect(distortion(generator({ distortion: { ...found, p99_ns: null, p99_share: null } }))).not.toMatch(/slowest/);
  });

  it("shows what it is judged by, and dropped iterations only where some were due", () => {
    const values = (changes: Partial<GeneratorFigures>) =>
      Object.fromEntries(figures(generator(changes)).map(({ id, value }) => [id, plain(value)]));
    expect(values({ cpu_share: 0.34, cpu_wait_share: 0.021, backlog_share: 0.004 })).toEqual({
      lag: "210 µs",
      cpu: "34.0 %",
      wait: "2.1 %",
      backlog: "0.40 %",
    });
    expect(values({ due: 1_000, dropped: 12, dropped_share: 0.012 })).toMatchObject({ cpu: "–", wait: "–", dropped: "1.2 %" });
    expect(values({ lag_ns: { ...NO_TIMING, n: 50, max: 3e6 } })["lag"]).toBe("3.00 ms");
  });
});
