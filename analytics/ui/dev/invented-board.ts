// What is on the board of an invented run: sessions, agents, processes; and its runs beside each other.

import type { Agents, Comparison, Difference, Live, Machines, ObservedOverTime, PlanView, RunEntry, SessionEntry, Sessions } from "../src/wire";

const SECOND = 1e9;
const STRENGTH = { chains: 120, requests: 480, workers: 1000 };

/** A session that waits, one that ran, and the one of the run. */
export function sessionsOf(session: NonNullable<Live["session"]>, runs: RunEntry[], since_unix_ns: number): Sessions {
  const plan = (id: string, change: Partial<PlanView>): PlanView => ({
    id,
    agents: { group: "eu" },
    changes: [{ revision: 1, at_unix_ns: since_unix_ns, by: "page", who: "", what: "made" }],
    directory: "https://ca.test/dir",
    keys: { directory: "https://ca.test/dir", workers: "20", run_time: "10m" },
    parts: [],
    paused: false,
    program: "wec 0.1.0",
    reason: "",
    revision: 1,
    run: "",
    runs: 0,
    since_unix_ns,
    state: "ready",
    waiting: "",
    ...change,
  });
  const entry = (id: string, change: Partial<PlanView>): SessionEntry => ({ id, plan: plan(id, change), runs: [], session: null });
  return {
    joining: { possible: true, command: "wec agent --board sqlite://board.db --analytics http://127.0.0.1:9091", note: "on this machine" },
    sessions: [
      { id: "demo", session, plan: null, runs: runs.slice(0, 1) },
      entry("nightly", { state: "running", waiting: "no live agent of the group eu" }),
      entry("broken", { state: "error", reason: "the directory cannot be reached", parts: [{ node: "bench-2", live: false, state: "ERROR", reason: "connection refused", since_unix_ns }] }),
    ],
  };
}

export function agents(since_unix_ns: number): Agents {
  const agent = { live: true, activated: true, draining: false, expected: false, reserved: false, group: "eu", labels: {}, program: "wec 0.1.0", strength: STRENGTH, since_unix_ns, sessions: {} };
  return {
    nodes: [
      { ...agent, name: "bench-1", labels: { disk: "ssd" } },
      { ...agent, name: "bench-2", live: false },
      { ...agent, name: "bench-3", live: false, expected: true, reserved: true, program: "", strength: null, since_unix_ns: null },
    ],
  };
}

export function machines(workers: number): Machines {
  const process = { name: "bench-1", kind: "requester" as const, state: "running" as const, session: "demo", version: "0.1.0", clock: { ahead_ns: -41_000, within_ns: 90_000 }, machine: null };
  const machine = { address: "10.0.0.4:1223", error: "", cpuUsed: 61.4, memoryTotal: 8 * 2 ** 30, memoryUsed: 3 * 2 ** 30, memoryUsedPercent: 37.5, diskTotal: 80e9, diskUsed: 24e9, diskUsedPercent: 30 };
  return {
    machines: [
      { ...process, id: "r1", strength: { ...STRENGTH, workers }, share: 1, machine },
      { ...process, id: "c1", kind: "challenge-server", state: "serving", session: "", strength: { chains: 0, requests: 0, workers: 0 }, share: null, clock: null },
    ],
  };
}

/** Two runs beside each other: a figure that became better, one worse, one within noise, one with too few samples. */
export function comparison(before: string, after: string): Comparison {
  const difference = (figure: string, unit: Difference["unit"], values: [number, number] | null, verdict: Difference["verdict"], change: Difference["change"] = null): Difference => ({
    chain: true,
    name: "certificate",
    method: "",
    uri: "",
    figure,
    unit,
    before: values?.[0] ?? null,
    after: values?.[1] ?? null,
    n_before: 4_120,
    n_after: 3_980,
    verdict,
    change,
  });
  return {
    version: 1,
    before: [before],
    after: [after],
    about: "4 figures; 2 differ beyond noise, where by chance alone 0.1 would",
    rules: [],
    warnings: ["the runs differ: workers 10 before, 20 after"],
    differences: [
      difference("p50", "ns", [41e6, 38e6], "better", { scale: "relative", value: -0.073, low: -0.09, high: -0.05 }),
      difference("p95", "ns", [140e6, 171e6], "worse", { scale: "relative", value: 0.221, low: 0.14, high: 0.31 }),
      difference("failed", "share", [0.004, 0.0042], "none-shown", { scale: "difference", value: 0.0002, low: -0.001, high: 0.0014 }),
      difference("p99.9", "ns", null, "too-few-samples"),
      { ...difference("p95", "ns", [12e6, 13e6], "none-shown", { scale: "relative", value: 0.08, low: -0.04, high: 0.2 }), chain: false, name: "newOrder", method: "POST", uri: "/order-plz" },
    ],
  };
}

/** A metric of the CA, and what a driven fleet reports. */
export function observed(at_unix_s: readonly number[]): ObservedOverTime {
  const at_unix_ns = at_unix_s.map((second) => second * SECOND);
  const wave = (most: number, width: number) => at_unix_s.map((second) => Math.round(most * (1 + 0.6 * Math.sin(second / width))));
  const series = (source: string, name: string, measure: "value" | "rate", values: number[]) => ({ source, name, measure, step_s: 1, at_unix_ns, values });
  return {
    series: [
      series("ca", "db_connections", "value", wave(14, 9)),
      series("fleet", "orders_total", "rate", wave(40, 11)),
      series("fleet", "issued_total", "rate", wave(34, 13)),
      series("fleet", "waiting", "value", wave(60, 17)),
      series("fleet", 'refused_total{class="eager"}', "rate", wave(5, 8)),
    ],
  };
}
