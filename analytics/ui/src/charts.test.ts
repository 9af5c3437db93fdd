import { describe, expect, it } from "vitest";

import { CHAINS } from "./chains";
import { CHARTS, classesChart, firstView, TRANSFER, VALIDATIONS } from "./charts";
import { merge } from "./series";
import { series } from "./testing";

const chart = (id: string) => CHARTS.find((chart) => chart.id === id) ?? expect.fail(`no chart ${id}`);
const line = (id: string, name: string) => chart(id).lines.find((line) => line.name === name) ?? expect.fail(`no line ${name}`);

describe("the charts", () => {
  it("show rates a second whatever the width of a bucket", () => {
    const wide = merge(null, series([100], { step: 4, perChain: 8 }));
    expect(line("throughput", "requests").y(wide, 0)).toBe(2.5);
    expect(line("throughput", "chains").y(wide, 0)).toBe(2 * CHAINS.length);
    expect(line("errors", "requests").y(wide, 0)).toBe(0.25);
    expect(VALIDATIONS.lines[0]?.y(wide, 0)).toBe(0.75);
    expect(TRANSFER.lines.map((line) => line.y(wide, 0))).toEqual([1500 / 1024 / 4, 700 / 1024 / 4]);
    const failing = merge(null, { ...series([100, 104], { step: 4 }), classes: { timeout: [0, 2] } });
    expect(classesChart(["timeout"]).lines[0]?.y(failing, 1)).toBe(0.5);
  });

  it("fall back to the mean while less than half of the points have a median", () => {
    const at = [100, 101, 102];
    const few = series(at);
    const view = () => firstView(chart("response-time"), merge(null, few), 0, at.length);
    expect(view()).toBe("mean");
    for (const chain of Object.values(few.chains)) chain.p50_ns = [null, 4e6, 4e6];
    expect(view()).toBe("percentiles");
    // One chain with few samples does not change the view of all.
    few.chains.refresh.p50_ns = [null, null, null];
    expect(view()).toBe("percentiles");
    for (const chain of Object.values(few.chains)) chain.p50_ns = [null, null, 4e6];
    expect(view()).toBe("mean");
    for (const chain of Object.values(few.chains)) chain.mean_ns = [null, null, 4e6];
    expect(view()).toBe("percentiles");
  });

  it("have p50, p95 and p99 of a chain together in one view, each drawn in its own way", () => {
    const lines = chart("response-time").lines.filter(({ name, view }) => name === "certificate" && view === "tail");
    expect(lines.map(({ variant }) => variant)).toEqual(["p50", "p95", "p99"]);
    expect(new Set(lines.map(({ dash }) => JSON.stringify(dash))).size).toBe(3);
  });

  it("without any data show their first view", () => {
    expect(firstView(chart("response-time"), merge(null, series([])), 0, 0)).toBe("percentiles");
    expect(firstView(chart("throughput"), merge(null, series([])), 0, 0)).toBeUndefined();
  });
});
