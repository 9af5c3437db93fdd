import { describe, expect, it } from "vitest";

import { fleetCharts } from "./fleet";
import { merge } from "./series";
import { series } from "./testing";
import type { ObservedSeries } from "./wire";

const observed = (name: string, values: number[], source = "fleet"): ObservedSeries => ({
  source,
  name,
  measure: "value",
  step_s: 1,
  at_unix_ns: values.map((_, second) => (100.4 + second) * 1e9),
  values,
});

describe("a fleet that is driven", () => {
  it("has charts of demand, orders without a certificate, backlog and refused classes", () => {
    const charts = fleetCharts([
      observed("orders_total", [7, 9]),
      observed("issued_total", [5, 5]),
      observed("planned_orders_total", [7, 8]),
      observed("failed_total", [0, 1]),
      observed("not_sent_total", [2, 0]),
      observed("waiting", [2, 6]),
      observed('refused_total{class="certbot"}', [0, 1]),
      observed('refused_total{class="ari"}', [3, 0]),
      observed("orders_total", [1000, 1000], "ca"),
    ]);
    expect(charts.map(({ id, lines }) => [id, lines.map(({ name }) => name)])).toEqual([
      ["fleet-demand", ["orders", "issued", "planned orders"]],
      ["fleet-unserved", ["failed otherwise", "not sent"]],
      ["fleet-backlog", ["waiting"]],
      ["fleet-refused", ["certbot", "ari"]],
    ]);
    const columns = merge(null, series([100, 101, 102]));
    expect(columns.at.map((_, index) => charts[0]?.lines[0]?.y(columns, index))).toEqual([7, 9, null]);
    expect(charts[3]?.lines.map(({ colour }) => colour)).toEqual(["class-0", "class-1"]);
  });

  it("is nothing for a run without one", () => {
    expect(fleetCharts([observed("orders_total", [1], "ca")])).toEqual([]);
  });
});
