// The table of statistics: its rows, which all figures have in common, and how they are sorted and filtered. Pure.

import { brief, duration } from "./format";
import { logTicks } from "./scale";
import { TIMING_COLUMNS, type TimingColumn } from "./timing";
import { DEFAULT_WEIGHTS } from "./chains";
import { CHAINS, type Chain, type Snapshot, type Timing } from "./wire";

export const GROUPS = [
  { id: "all", label: "all" },
  { id: "chain", label: "chains" },
  { id: "endpoint", label: "endpoints" },
  { id: "profile", label: "profiles" },
  { id: "challenge", label: "challenge types" },
  { id: "scenario", label: "scenarios" },
  { id: "node", label: "nodes" },
] as const;
export type Group = (typeof GROUPS)[number]["id"];

export interface StatRow {
  /** In the page's address. */
  id: string;
  group: Group;
  name: string;
  /** Beside the name: method and path, chain of a profile. */
  detail: string;
  count: number;
  /** Mean length of an answer's body, bytes; null where it is not measured. */
  bytes: number | null;
  /** Null where the figure does not exist. */
  failed: number | null;
  failedPerSecond: number | null;
  perSecond: number | null;
  /** done − due of those that succeeded. */
  response: Timing;
  /** done − started (sent) of those that succeeded; null where there is no other than the response time. */
  service: Timing | null;
  /** The same of those that failed; null where failures are not timed. */
  failedResponse: Timing | null;
  chain: Chain | null;
  /** Whether its times are kept at all. */
  timed: boolean;
}

type CountedRow = Omit<StatRow, "failedPerSecond">;

const NOTHING: Timing = {
  n: 0,
  mean: null,
  std_error: null,
  min: null,
  p50: null,
  p50_ci: null,
  p90: null,
  p90_ci: null,
  p95: null,
  p95_ci: null,
  p99: null,
  p99_ci: null,
  p99_9: null,
  p99_9_ci: null,
  max: null,
};

const PLAIN = { detail: "", bytes: null, service: null, failedResponse: null, chain: null, timed: true };

/** The chains that ran, and those that run by default. */
export function listedChains(snapshot: Snapshot): Chain[] {
  return CHAINS.filter((chain) => {
    const { count, cut_off } = snapshot.chains[chain];
    return count > 0 || cut_off > 0 || DEFAULT_WEIGHTS[chain] > 0;
  });
}

/** All rows, by group. Nodes have the names that the board has for their ids. */
export function rowsOf(snapshot: Snapshot, names: ReadonlyMap<string, string> = new Map()): StatRow[] {
  const seconds = snapshot.elapsed_ns / 1e9;
  return countedRows(snapshot, names).map((row) => ({
    ...row,
    failedPerSecond: row.failed === null || seconds <= 0 ? null : row.failed / seconds,
  }));
}

function countedRows(snapshot: Snapshot, names: ReadonlyMap<string, string>): CountedRow[] {
  const seconds = snapshot.elapsed_ns / 1e9;
  const mean = (bytes: number, count: number) => (count === 0 ? null : bytes / count);
  const per = (count: number) => (seconds > 0 ? count / seconds : null);
  return [
    {
      ...PLAIN,
      id: "all requests",
      group: "all",
      name: "requests",
      detail: "every HTTP attempt",
      bytes: mean(snapshot.bytes.received, snapshot.requests),
      count: snapshot.requests,
      failed: snapshot.requests_failed,
      perSecond: snapshot.rps,
      response: snapshot.response_time_ns,
    },
    {
      ...PLAIN,
      id: "all issuances",
      group: "all",
      name: "issuances",
      detail: "newOrder to certificate",
      count: snapshot.issued.count,
      failed: null,
      perSecond: snapshot.issued.per_second,
      response: snapshot.issued.response_time_ns,
    },
    ...listedChains(snapshot).map((chain): CountedRow => {
      const { count, failed, rps, response_time_ns, service_time_ns, failed_response_time_ns } = snapshot.chains[chain];
      const times = { response: response_time_ns, service: service_time_ns, failedResponse: failed_response_time_ns };
      return { ...PLAIN, id: `chain ${chain}`, group: "chain", name: chain, count, failed, perSecond: rps, chain, ...times };
    }),
    ...snapshot.endpoints.map((endpoint): CountedRow => ({
      id: `endpoint ${endpoint.endpoint} ${endpoint.method} ${endpoint.uri}`,
      group: "endpoint",
      name: endpoint.endpoint,
      detail: `${endpoint.method} ${endpoint.uri}`.trim(),
      bytes: mean(endpoint.bytes_received, endpoint.count - endpoint.cut_off),
      count: endpoint.count,
      failed: endpoint.failed,
      perSecond: endpoint.rps,
      response: endpoint.response_time_ns,
      service: endpoint.service_time_ns,
      failedResponse: endpoint.failed_response_time_ns,
      chain: null,
      timed: true,
    })),
    ...Object.entries(snapshot.profiles).flatMap(([profile, chains]) =>
      CHAINS.flatMap((chain): CountedRow[] => {
        const figures = chains[chain];
        if (figures === undefined || figures.count === 0) return [];
        const { count, failed, response_time_ns: response, service_time_ns: service } = figures;
        const id = `profile ${profile} ${chain}`;
        return [{ ...PLAIN, id, group: "profile", name: profile, detail: chain, count, failed, perSecond: per(count), response, service, chain }];
      }),
    ),
    ...snapshot.validations.map((validation): CountedRow => ({
      ...PLAIN,
      id: `challenge ${validation.type}`,
      group: "challenge",
      name: validation.type,
      detail: "challenge answered to authorization settled",
      count: validation.count,
      failed: null,
      perSecond: per(validation.count),
      response: validation.time_ns,
    })),
    ...Object.entries(snapshot.scenarios).map(([name, scenario]): CountedRow => ({
      ...PLAIN,
      id: `scenario ${name}`,
      group: "scenario",
      name,
      detail: scenario.executor,
      count: scenario.ended,
      failed: null,
      perSecond: scenario.rate,
      response: NOTHING,
      timed: false,
    })),
    ...snapshot.nodes.map((node): CountedRow => ({
      ...PLAIN,
      id: `node ${node.node}`,
      group: "node",
      name: names.get(node.node) ?? node.node,
      detail: `requests of ${node.chains} chains`,
      count: node.requests,
      failed: node.requests_failed,
      perSecond: node.rps,
      response: node.response_time_ns,
    })),
  ];
}

/** Columns beside those of times that a person can choose. */
export const OTHER_COLUMNS = [
  { key: "failedPerSecond", label: "failed/s" },
  { key: "bytes", label: "bytes" },
] as const;
export type OtherColumn = (typeof OTHER_COLUMNS)[number];

export type SortKey = "name" | "count" | "failed" | "perSecond" | OtherColumn["key"] | TimingColumn["key"];
export interface Sorting {
  key: SortKey;
  descending: boolean;
}

/** The times that a row shows: the service time where there is one and it is wanted. */
export function timesOf(row: StatRow, service: boolean): Timing {
  return service ? (row.service ?? NOTHING) : row.response;
}

/** Sorted within each group; missing figures come last. Without a sorting, in the order of the server. */
export function sorted(rows: readonly StatRow[], sorting: Sorting | null, service: boolean): StatRow[] {
  if (sorting === null) return [...rows];
  const { key, descending } = sorting;
  const value = (row: StatRow): number | string | null => {
    if (key === "name") return row.name;
    if (key === "count" || key === "failed" || key === "perSecond" || key === "failedPerSecond" || key === "bytes") return row[key];
    return timesOf(row, service)[key];
  };
  const group = (row: StatRow) => GROUPS.findIndex(({ id }) => id === row.group);
  return [...rows].sort((a, b) => {
    if (a.group !== b.group) return group(a) - group(b);
    const [left, right] = [value(a), value(b)];
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    const order = typeof left === "string" || typeof right === "string" ? String(left).localeCompare(String(right)) : left - right;
    return descending ? -order : order;
  });
}

/** The rows whose name or detail has each of the words, in these groups. */
export function matching(rows: readonly StatRow[], text: string, group: Group | ""): StatRow[] {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return rows.filter((row) => {
    const all = `${row.group} ${row.name} ${row.detail}`.toLowerCase();
    return (group === "" || row.group === group) && words.every((word) => all.includes(word));
  });
}

/** Whether a row's times have a distribution at the server. */
export function hasDistribution({ group }: StatRow): boolean {
  return group !== "profile" && group !== "scenario";
}

/** The columns of times that a person has chosen, as text in the browser's store. */
export function columnsNamed(text: string | null): TimingColumn[] {
  if (text === null) return TIMING_COLUMNS.filter(({ key }) => key !== "std_error");
  const keys = text.split(" ");
  return TIMING_COLUMNS.filter(({ key }) => keys.includes(key));
}

/** The other columns that a person has chosen, by the same text. */
export function othersNamed(text: string | null): OtherColumn[] {
  const keys = text === null ? ["bytes"] : text.split(" ");
  return OTHER_COLUMNS.filter(({ key }) => keys.includes(key));
}

/** Why a row has no number of failures; empty for one that has. */
export function uncounted({ group, failed }: StatRow): string {
  if (failed !== null) return "";
  if (group === "challenge") return "Failures are not counted by challenge type: those of authorizations are under Failures";
  return "Failures are counted by chain and by endpoint";
}

export interface CurvePoint {
  label: string;
  ns: number;
  /** The ends of its 95 % interval. */
  ends: readonly [number, number] | null;
  /** Place on the axis, 0 to 1: by the number of nines. */
  x: number;
  /** Places on the logarithmic axis of times, 0 to 1. */
  y: number;
  low: number;
  high: number;
}

/** The percentiles of a distribution as a curve: p50, p90, p99 and p99.9 are about equally far apart. */
export function curveOf(timing: Timing): CurvePoint[] {
  const percentiles = [
    ["p50", 0.5, timing.p50, timing.p50_ci],
    ["p90", 0.9, timing.p90, timing.p90_ci],
    ["p95", 0.95, timing.p95, timing.p95_ci],
    ["p99", 0.99, timing.p99, timing.p99_ci],
    ["p99.9", 0.999, timing.p99_9, timing.p99_9_ci],
  ] as const;
  const known = percentiles.flatMap(([label, p, ns, ends]) => (ns === null ? [] : [{ label, p, ns, ends: ends ?? null }]));
  const y = placeOf(known);
  const x = (p: number) => (Math.log10(1 / (1 - p)) - Math.log10(2)) / (3 - Math.log10(2));
  return known.map(({ label, p, ns, ends }) => ({ label, ns, ends, x: x(p), y: y(ns), low: y(ends?.[0] ?? ns), high: y(ends?.[1] ?? ns) }));
}

/** Round times beside the curve, each with its place on the axis. */
export function curveTicks(points: readonly CurvePoint[]): { label: string; y: number }[] {
  const all = timesIn(points);
  if (all.length === 0) return [];
  const y = placeOf(points);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  return logTicks(least, most, 4)
    .filter((ns) => ns >= least && ns <= most)
    .map((ns) => ({ label: brief(duration(ns)), y: y(ns) }));
}

type Known = Pick<CurvePoint, "ns" | "ends">;

const timesIn = (points: readonly Known[]) => points.flatMap(({ ns, ends }) => [ns, ...(ends ?? [])]).map((ns) => Math.max(1, ns));

/** The place of a time on the logarithmic axis of these points, 0 to 1. */
function placeOf(points: readonly Known[]): (ns: number) => number {
  const all = timesIn(points).map(Math.log);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  return (ns) => (most > least ? (Math.log(Math.max(1, ns)) - least) / (most - least) : 0.5);
}
