import { expect, it } from "vitest";

import { NO_TIMING } from "./testing";
import { between, cell, TIMING_COLUMNS, type TimingColumn } from "./timing";

const column = (key: string): TimingColumn => TIMING_COLUMNS.find((column) => column.key === key) ?? expect.fail(key);
const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, " ");

it("a figure says how many samples it is of", () => {
  const shown = cell({ ...NO_TIMING, n: 2345, p99: 4_210_000 }, column("p99"));
  expect([plain(shown.text), plain(shown.title)]).toEqual(["4.21 ms", "99th percentile of 2 345 samples"]);
});

it("a percentile says how well it is known", () => {
  const shown = cell({ ...NO_TIMING, n: 2345, p99: 4_210_000, p99_ci: [4_050_000, 4_480_000] }, column("p99"));
  expect(plain(shown.title)).toBe("99th percentile of 2 345 samples; with 95 % confidence between 4.05 ms and 4.48 ms");
});

it("shows the interval of a percentile in the unit of its value, and none where there is none", () => {
  const known = { ...NO_TIMING, n: 2345, mean: 3e6, p99: 999_000, p99_ci: [905_000, 1_480_000] as [number, number] };
  expect(between(known, column("p99"))).toBe("905–1480");
  expect(between(known, column("p50"))).toBe("");
  expect(between(known, column("mean"))).toBe("");
});

it("a withheld figure is a dash that says why", () => {
  const shown = cell({ ...NO_TIMING, n: 412 }, column("p99"));
  expect([shown.text, plain(shown.title)]).toEqual([
    "–",
    "99th percentile needs 1 000 samples, 10 of them in its tail; there are 412",
  ]);
  expect(cell({ ...NO_TIMING, n: 0 }, column("max")).title).toBe("Largest needs a sample; there are 0");
  expect(cell({ ...NO_TIMING, n: 1 }, column("std_error")).title).toBe("Standard error of the mean needs 2 samples; there is 1");
});
