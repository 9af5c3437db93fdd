import { describe, expect, it } from "vitest";

import { changeSaid, compared, wilson } from "./compare";
import { live, NO_TIMING, series } from "./testing";

function run(p95: number, ci: [number, number], failed = 0) {
  const { snapshot } = live(series([100]));
  snapshot.issued = { count: 1000, per_second: 10, response_time_ns: { ...NO_TIMING, n: 1000, p95, p95_ci: ci } };
  snapshot.chains.certificate = { ...snapshot.chains.certificate, count: 1000, failed };
  return snapshot;
}
const row = (rows: ReturnType<typeof compared>, name: string) => rows.find((row) => row.name === name) ?? expect.fail(`no row ${name}`);

describe("two runs", () => {
  it("differ in a percentile whose intervals do not overlap", () => {
    const slower = compared(run(4e6, [3.9e6, 4.1e6]), run(5e6, [4.8e6, 5.2e6]));
    expect(row(slower, "issuance p95")).toMatchObject({ before: "4.00\u00a0ms", after: "5.00\u00a0ms", differs: true, worse: true });
    const same = compared(run(4e6, [3.5e6, 4.5e6]), run(4.2e6, [4e6, 4.4e6]));
    expect(row(same, "issuance p95").differs).toBe(false);
  });

  it("have no row for what neither has, and no judgement of what one lacks", () => {
    const rows = compared(run(4e6, [3.9e6, 4.1e6]), live(series([100])).snapshot);
    expect(rows.some(({ name }) => name === "revoke p50")).toBe(false);
    expect(row(rows, "issuance p95")).toMatchObject({ after: "–", change: null, differs: null });
  });

  it("differ in their failures by more than chance", () => {
    const ci: [number, number] = [4e6, 4e6];
    expect(row(compared(run(4e6, ci, 10), run(4e6, ci, 12)), "failed chains").differs).toBe(false);
    expect(row(compared(run(4e6, ci, 10), run(4e6, ci, 90)), "failed chains")).toMatchObject({ differs: true, worse: true });
  });
});

it("the interval of a proportion is within 0 and 1, and wide for few", () => {
  expect(wilson(0, 0)).toEqual([0, 1]);
  const [low, high] = wilson(0, 100);
  expect(low).toBe(0);
  expect(high).toBeCloseTo(0.037, 3);
});

it("a change has its sign", () => {
  expect([0.1234, -0.5, 2.5, 0.0001, null].map(changeSaid)).toEqual(["+12.3\u00a0%", "−50.0\u00a0%", "+250\u00a0%", "0\u00a0%", "–"]);
});
