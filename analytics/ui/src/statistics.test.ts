import { describe, expect, it } from "vitest";

import { columnsNamed, curveOf, curveTicks, matching, othersNamed, rowsOf, sorted, timesOf, uncounted } from "./statistics";
import { live, NO_SCENARIO, NO_TIMING, series } from "./testing";
import type { EndpointFigures, Timing } from "./wire";

const timing = (p95: number | null): Timing => ({ ...NO_TIMING, n: 500, p95 });
const endpoint = (name: string, count: number, p95: number | null): EndpointFigures => ({
  endpoint: name,
  method: "POST",
  uri: `/${name}`,
  count,
  failed: 0,
  cut_off: 0,
  outcome_unknown: 0,
  rps: count / 4,
  bytes_received: count * 700,
  response_time_ns: timing(p95),
  service_time_ns: timing(p95 === null ? null : p95 / 2),
  failed_response_time_ns: NO_TIMING,
  failed_service_time_ns: NO_TIMING,
  phases: { new: 0, reused: 0, dns_ns: NO_TIMING, connect_ns: NO_TIMING, tls_ns: NO_TIMING, first_byte_ns: NO_TIMING },
});

const { snapshot } = live(series([100]));
snapshot.endpoints = [endpoint("newOrder", 5, 4e6), endpoint("finalize", 9, 7e6), endpoint("order", 7, null)];
snapshot.profiles = { short: { certificate: { count: 8, failed: 1, response_time_ns: NO_TIMING, service_time_ns: NO_TIMING } } };
snapshot.scenarios = { storm: { ...NO_SCENARIO, ended: 3, rate: 1.5 } };
const rows = rowsOf(snapshot);
const ids = (of: typeof rows) => of.map(({ id }) => id);

describe("the rows", () => {
  it("are all together, then chains, endpoints, profiles and scenarios", () => {
    expect([...new Set(rows.map(({ group }) => group))]).toEqual(["all", "chain", "endpoint", "profile", "scenario"]);
    expect(new Set(ids(rows)).size).toBe(rows.length);
  });

  it("have rates over the time of the figures", () => {
    expect(rows.find(({ group }) => group === "profile")).toMatchObject({ name: "short", detail: "certificate", count: 8, failed: 1, perSecond: 2, failedPerSecond: 0.25 });
  });
});

describe("the nodes", () => {
  const nodes = rowsOf({ ...snapshot, nodes: [{ node: "r-1", chains: 3, chains_failed: 0, requests: 9, requests_failed: 2, rps: 2.25, response_time_ns: timing(4e6), lag_ns: NO_TIMING }] }, new Map([["r-1", "bench-1"]]));
  it("are rows by the names that the board has", () => {
    expect(nodes.at(-1)).toMatchObject({ id: "node r-1", group: "node", name: "bench-1", count: 9, failed: 2 });
  });
});

it("bytes are those of an answer, where they are measured", () => {
  expect(rows.filter(({ group }) => group === "endpoint").map(({ bytes }) => bytes)).toEqual([700, 700, 700]);
  expect(rows.find(({ group }) => group === "scenario")?.bytes).toBeNull();
  expect([null, "p95 failedPerSecond", "p95"].map((text) => othersNamed(text).map(({ key }) => key))).toEqual([["bytes"], ["failedPerSecond"], []]);
});

describe("a sorting", () => {
  const endpoints = (key: "count" | "p95" | "name", descending: boolean, service = false) =>
    sorted(rows, { key, descending }, service).filter(({ group }) => group === "endpoint").map(({ name }) => name);

  it("is within the groups, which stay in their order", () => {
    const groups = sorted(rows, { key: "count", descending: true }, false).map(({ group }) => group);
    expect([...new Set(groups)]).toEqual(["all", "chain", "endpoint", "profile", "scenario"]);
    expect(endpoints("count", true)).toEqual(["finalize", "order", "newOrder"]);
    expect(endpoints("name", false)).toEqual(["finalize", "newOrder", "order"]);
  });

  it.each([true, false])("has missing figures last, descending or not", (descending) => {
    expect(endpoints("p95", descending).at(-1)).toBe("order");
    expect(endpoints("p95", descending, true).at(-1)).toBe("order");
  });

  it("that nobody chose is the server's", () => {
    expect(ids(sorted(rows, null, false))).toEqual(ids(rows));
  });
});

it("a filter is by words and by group", () => {
  expect(matching(rows, "POST final", "").map(({ name }) => name)).toEqual(["finalize"]);
  expect(matching(rows, "", "scenario").map(({ name }) => name)).toEqual(["storm"]);
  expect(matching(rows, "nothing", "")).toEqual([]);
});

it("the service time of a row without one is missing, not its response time", () => {
  const [all] = rows;
  expect(all && timesOf(all, true).p95).toBeNull();
  expect(timesOf(rows.find(({ name }) => name === "finalize") ?? expect.fail("no row"), true).p95).toBe(3.5e6);
});

it("a row without times or failures says so", () => {
  const of = (group: string) => rows.find((row) => row.group === group) ?? expect.fail(`no ${group}`);
  expect([of("scenario").timed, of("chain").timed]).toEqual([false, true]);
  expect(uncounted(of("scenario"))).toMatch(/by chain/);
  expect(uncounted(of("chain"))).toBe("");
});

it("chosen columns keep their order, and an unknown one is left out", () => {
  expect(columnsNamed("p99 mean nothing").map(({ key }) => key)).toEqual(["mean", "p99"]);
  expect(columnsNamed(null).map(({ key }) => key)).toContain("p95");
  expect(columnsNamed("")).toEqual([]);
});

describe("a curve of percentiles", () => {
  it("has those that are known, with even steps from p90 to p99.9", () => {
    const points = curveOf({ ...NO_TIMING, n: 20_000, p50: 1e6, p90: 2e6, p99: 4e6, p99_9: 16e6, p99_9_ci: [8e6, 16e6] });
    expect(points.map(({ label }) => label)).toEqual(["p50", "p90", "p99", "p99.9"]);
    const [first, p90, p99, last] = points.map(({ x }) => x);
    expect(first).toBe(0);
    expect(last).toBeCloseTo(1);
    expect((p99 ?? 0) - (p90 ?? 0)).toBeCloseTo((last ?? 0) - (p99 ?? 0));
    expect(points.map(({ y }) => Number(y.toFixed(3)))).toEqual([0, 0.25, 0.5, 1]);
    expect(points.at(-1)?.low).toBeCloseTo(0.75);
  });

  it("has round times beside it", () => {
    const ticks = curveTicks(curveOf({ ...NO_TIMING, n: 2_000, p50: 1e6, p90: 2e6, p99: 10e6 }));
    expect(ticks.map(({ label }) => label)).toContain("10\u00a0ms");
    expect(ticks.every(({ y }) => y >= 0 && y <= 1)).toBe(true);
    expect(curveTicks([])).toEqual([]);
  });

  it("of no percentiles has no points", () => {
    expect(curveOf(NO_TIMING)).toEqual([]);
  });
});
