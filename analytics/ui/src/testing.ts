// Values for tests: the smallest that the server could send.

import { CHAINS, type Live, type Series, type Timing } from "./wire";

export const NO_TIMING: Timing = {
  n: 0,
  mean: null,
  std_error: null,
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

/** A series with buckets at these seconds; `requests` counts up from 10, each chain has `perChain` iterations a bucket. */
export function series(at: number[], { reset = false, step = 1, perChain = 2 } = {}): Series {
  const fill = <T>(value: T) => at.map(() => value);
  return {
    step_s: step,
    reset,
    at_unix_s: at,
    requests: at.map((_, index) => 10 + index),
    requests_failed: fill(1),
    hits: fill(3),
    workers_target: fill<number | null>(50),
    workers: fill<number | null>(50),
    busy: fill<number | null>(40),
    chains_target: fill<number | null>(null),
    requests_target: fill<number | null>(null),
    lag_p99_ns: fill<number | null>(2e5),
    lag_max_ns: fill<number | null>(1e6),
    chains: byChain(() => ({
      count: fill(perChain),
      failed: fill(0),
      mean_ns: fill<number | null>(5e6),
      p50_ns: fill<number | null>(null),
      p95_ns: fill<number | null>(null),
    })),
  };
}

export function live(series: Series): Live {
  return {
    now_unix_ns: 105e9,
    session: {
      id: "demo",
      state: "running",
      workers_target: 50,
      workers_running: 50,
      limits: { registrations: null, authorizations: null, certificates: null },
      scenarios: { default: { state: "running", workers: 50, rate: null, rate_unit: "", weights: {}, scheduled: false } },
    },
    nodes: [],
    health: { log: "results/a.jsonl", log_bytes: 0, log_failed: 0, log_error: null, queued_batches: 0, queue_bound: 1024, duplicates: 0, gaps: 0, senders: 1 },
    snapshot: {
      version: 1,
      run: {
        id: "run-1",
        session: "demo",
        program: "wec 0.1.0",
        target: "https://127.0.0.1:14000/dir",
        started_unix_ns: 100e9,
        stamp: { host: "bench", platform: "linux x86_64", cpus: 2, scenario: null },
      },
      at_unix_ns: 104e9,
      elapsed_ns: 4e9,
      requests: 0,
      requests_failed: 0,
      rps: 0,
      chains: byChain(() => ({
        count: 0,
        failed: 0,
        abandoned: 0,
        rps: 0,
        response_time_ns: NO_TIMING,
        service_time_ns: NO_TIMING,
        failed_response_time_ns: NO_TIMING,
        failed_service_time_ns: NO_TIMING,
        keygen_ns: 0,
        classes: {},
      })),
      endpoints: [],
      failures: [],
      nonces: { fetched: 0, rejected: 0, rejected_share: null },
      retries: 0,
      polls: 0,
      connections: { new: 0, reused: 0 },
      bytes: { sent: 0, received: 0 },
      hits: [],
      state: { registrations: 0, authorizations: 0, certificates: 0, revoked: 0, workers: 50 },
      workers_target: 50,
      scenarios: {},
      generator: {
        limited: false,
        limited_now: false,
        limited_ns: 0,
        limits: [],
        lag_ns: NO_TIMING,
        cpu_share: null,
        cpu_share_max: null,
        cpu_wait_share: null,
        cpu_wait_share_max: null,
        processors: null,
        backlog_share: 0,
        backlog_share_max: 0,
        due: 0,
        dropped: 0,
        dropped_share: null,
      },
      thresholds: [],
      marks: [],
      missing: { lost_results: 0, unknown_chains: 0, clamped_times: 0, other_endpoints: 0, other_failures: 0, dropped_marks: 0, other_scenarios: 0, outside_series: 0 },
    },
    series,
  };
}

function byChain<T>(make: () => T) {
  return Object.fromEntries(CHAINS.map((chain) => [chain, make()])) as Record<(typeof CHAINS)[number], T>;
}
