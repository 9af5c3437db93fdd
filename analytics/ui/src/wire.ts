// The JSON of the web API, key by key: docs/web-api.md and analytics/src/snapshot.rs say what each means.
// Nothing else in the page declares a shape that comes from the server.

/** Version of the snapshot that this page can read. */
export const SNAPSHOT_VERSION = 1;

export const CHAINS = ["registration", "authorization", "certificate", "refresh", "revoke"] as const;
export type Chain = (typeof CHAINS)[number];

/** What `GET api/v1/snapshot` answers and each event of `GET api/v1/live` carries. */
export interface Live {
  now_unix_ns: number;
  session: SessionView | null;
  nodes: NodeView[];
  health: Health;
  snapshot: Snapshot;
  series: Series;
}

export interface SessionView {
  id: string;
  state: string;
  workers_target: number;
  workers_running: number;
  limits: Limits;
  scenarios: Record<string, ScenarioView>;
}

export const LIMITS = ["registrations", "authorizations", "certificates"] as const;
/** Null means no limit. */
export type Limits = Record<(typeof LIMITS)[number], number | null>;

/** What is wanted of a scenario. */
export interface ScenarioView {
  /** Waiting for another scenario to end; of one that has ended nothing more starts. */
  state: "waiting" | "running" | "ended";
  workers: number;
  /** Arrivals a second, in `rate_unit`; null where it keeps a number of workers. */
  rate: number | null;
  /** `chains` or `requests`; empty without a rate. */
  rate_unit: string;
  /** One that is not named weighs what the run was started with. */
  weights: Partial<Record<Chain, number>>;
  scheduled: boolean;
}

export interface NodeView {
  id: string;
  name: string;
  kind: string;
  workers: number;
}

export interface Health {
  log: string;
  log_bytes: number;
  log_failed: number;
  log_error: string | null;
  queued_batches: number;
  queue_bound: number;
  duplicates: number;
  gaps: number;
  senders: number;
}

export interface Snapshot {
  version: number;
  run: Run;
  at_unix_ns: number;
  elapsed_ns: number;
  requests: number;
  requests_failed: number;
  rps: number;
  chains: Record<Chain, ChainFigures>;
  endpoints: EndpointFigures[];
  failures: FailureFigures[];
  nonces: { fetched: number; rejected: number; rejected_share: number | null };
  retries: number;
  polls: number;
  connections: { new: number; reused: number };
  bytes: { sent: number; received: number };
  hits: HitFigures[];
  state: StateCounts;
  workers_target: number | null;
  scenarios: Record<string, ScenarioFigures>;
  generator: GeneratorFigures;
  thresholds: ThresholdResult[];
  marks: Mark[];
  missing: Missing;
}

/** What a scenario has reached. */
export interface ScenarioFigures {
  workers: number;
  busy: number;
  rate: number;
  due: number;
  dropped: number;
  /** How near the rate is to its target, where workers are adapted to it. */
  reach: "reached" | "approaching" | "capped" | "saturated" | null;
  capped_ns: number;
  saturated_ns: number;
}

/** What the run must hold to pass. */
export interface ThresholdResult {
  expression: string;
  unit: Unit;
  /** Null while it cannot be given. */
  value: number | null;
  limit: number;
  /** Null while undecided. */
  passed: boolean | null;
  n: number;
  /** Windows judged, and those that failed; null without a window. */
  windows: number | null;
  windows_failed: number | null;
  worst_unix_ns: number | null;
  aborted: boolean;
}

export type Unit = "ns" | "share" | "count" | "per-second";

export interface Run {
  id: string;
  session: string;
  program: string;
  target: string;
  started_unix_ns: number;
  stamp: { host: string; platform: string; cpus: number; scenario: unknown; calibration?: Calibration };
}

/** What the load tester's machine can do at most, by `wec calibrate`. */
export interface Calibration {
  measured_unix_ns: number;
  chains_per_s: number;
  requests_per_s: number;
  kept_up_chains_per_s: number | null;
  workers: number;
  workers_at_least: boolean;
}

export interface ChainFigures {
  count: number;
  failed: number;
  /** Ended with an order left unfinished on purpose; neither failed nor in the times. */
  abandoned: number;
  rps: number;
  response_time_ns: Timing;
  service_time_ns: Timing;
  failed_response_time_ns: Timing;
  failed_service_time_ns: Timing;
  keygen_ns: number;
  classes: Record<string, number>;
}

export interface EndpointFigures {
  endpoint: string;
  method: string;
  uri: string;
  count: number;
  failed: number;
  rps: number;
  response_time_ns: Timing;
  service_time_ns: Timing;
  failed_response_time_ns: Timing;
  failed_service_time_ns: Timing;
}

/** The least and the largest value that a percentile has with 95 % confidence. */
export type Interval = [number, number];

/** A distribution of times in nanoseconds; a figure that too few samples stand behind is null. */
export interface Timing {
  n: number;
  mean: number | null;
  std_error: number | null;
  p50: number | null;
  p50_ci: Interval | null;
  p90: number | null;
  p90_ci: Interval | null;
  p95: number | null;
  p95_ci: Interval | null;
  p99: number | null;
  p99_ci: Interval | null;
  p99_9: number | null;
  p99_9_ci: Interval | null;
  max: number | null;
}

export interface FailureFigures {
  scope: "chain" | "request";
  name: string;
  class: string | null;
  status: number;
  problem: string;
  count: number;
  example: string;
}

export interface HitFigures {
  type: string;
  verdict: string;
  count: number;
  took_ns: Timing;
}

export interface StateCounts {
  registrations: number;
  authorizations: number;
  certificates: number;
  revoked: number;
  /** Workers that run. */
  workers: number;
}

/** Whether the load tester itself kept up. */
export interface GeneratorFigures {
  limited: boolean;
  limited_now: boolean;
  limited_ns: number;
  limits: LimitFigures[];
  lag_ns: Timing;
  cpu_share: number | null;
  cpu_share_max: number | null;
  cpu_wait_share: number | null;
  cpu_wait_share_max: number | null;
  processors: number | null;
  backlog_share: number;
  backlog_share_max: number;
  due: number;
  dropped: number;
  dropped_share: number | null;
}

export interface LimitFigures {
  node: string;
  what: string;
  place: string;
  now: boolean;
  worst: number;
  bound: number;
  first_unix_ns: number;
  total_ns: number;
  reason: string;
}

export interface Mark {
  at_unix_ns: number;
  by: string;
  /** Empty for what concerns the whole run. */
  scenario: string;
  what: string;
  from: string;
  to: string;
}

export interface Missing {
  lost_results: number;
  unknown_chains: number;
  clamped_times: number;
  other_endpoints: number;
  other_failures: number;
  dropped_marks: number;
  other_scenarios: number;
  outside_series: number;
}

/** Columns: the i-th entry of each belongs to the bucket that starts at `at_unix_s[i]`. */
export interface Series {
  step_s: number;
  reset: boolean;
  at_unix_s: number[];
  requests: number[];
  requests_failed: number[];
  hits: number[];
  workers_target: (number | null)[];
  workers: (number | null)[];
  busy: (number | null)[];
  chains_target: (number | null)[];
  requests_target: (number | null)[];
  lag_p99_ns: (number | null)[];
  lag_max_ns: (number | null)[];
  chains: Record<Chain, ChainSeries>;
}

/** What was counted in a bucket. */
export const COUNT_COLUMNS = ["requests", "requests_failed", "hits"] as const;
/** What samples of the load say; null in buckets without one. */
export const LOAD_COLUMNS = [
  "workers_target",
  "workers",
  "busy",
  "chains_target",
  "requests_target",
  "lag_p99_ns",
  "lag_max_ns",
] as const;

export interface ChainSeries {
  count: number[];
  failed: number[];
  mean_ns: (number | null)[];
  p50_ns: (number | null)[];
  p95_ns: (number | null)[];
}

/**
 * Reads one event's text. Checks what the page would otherwise break on (version, columns of one length, the
 * five chains); the rest is trusted, because it comes from the program that served the page.
 *
 * Throws an Error that says what is wrong, for people.
 */
export function parseLive(text: string): Live {
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) throw new Error("the server sent something that is not an object");
  const { snapshot, series } = value;
  if (!isObject(snapshot) || !isObject(snapshot["chains"]) || !isObject(snapshot["run"])) {
    throw new Error("the server sent no snapshot");
  }
  if (snapshot["version"] !== SNAPSHOT_VERSION) {
    throw new Error(
      `the server speaks snapshot version ${String(snapshot["version"])}, this page ${SNAPSHOT_VERSION}: reload the page`,
    );
  }
  for (const chain of CHAINS) {
    if (!isObject(snapshot["chains"][chain])) throw new Error(`the snapshot lacks the chain ${chain}`);
  }
  if (!isSeries(series)) throw new Error("the server sent a series whose columns do not fit together");
  if (typeof value["now_unix_ns"] !== "number") throw new Error("the server sent no time");
  return value as unknown as Live;
}

/**
 * How long the run is to last, nanoseconds, from the plan in its stamp: until its last scenario ends, each at its time or after
 * another. Null when the stamp does not say.
 */
export function runTime(run: Run): number | null {
  const { scenario: plan } = run.stamp;
  if (!isObject(plan)) return null;
  if (!Array.isArray(plan["scenarios"])) return parseTime(plan["run_time"]);
  const scenarios = plan["scenarios"].filter(isObject);
  // One after the other: there are at most as many as scenarios.
  const end = (scenario: Record<string, unknown>, depth: number): number | null => {
    const takes = parseTime(scenario["run_time"]);
    const wait = parseTime(scenario["start_at"] ?? "0s");
    const before = scenarios.find((other) => typeof scenario["after"] === "string" && other["name"] === scenario["after"]);
    const from = before === undefined ? 0 : depth === 0 ? null : end(before, depth - 1);
    return takes === null || wait === null || from === null ? null : from + wait + takes;
  };
  const ends = scenarios.map((scenario) => end(scenario, scenarios.length));
  return ends.length === 0 || ends.includes(null) ? null : Math.max(...ends.filter((at) => at !== null));
}

/** `2m 30s` in nanoseconds; null for what is no time. */
function parseTime(text: unknown): number | null {
  if (typeof text !== "string" || !/^(\d+[a-z]+ ?)+$/.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+)([a-z]+)/g)) {
    const ns = UNITS_NS[unit as string];
    if (ns === undefined) return null;
    total += Number(amount) * ns;
  }
  return total;
}

const UNITS_NS: Record<string, number> = {
  ns: 1,
  us: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3_600e9,
  day: 86_400e9,
  days: 86_400e9,
};

/** The `error` of an API answer's body, or undefined when the body is not one. */
export function parseError(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) && typeof value["error"] === "string" ? value["error"] : undefined;
  } catch {
    return undefined;
  }
}

function isSeries(value: unknown): boolean {
  if (!isObject(value) || !Array.isArray(value["at_unix_s"]) || !isObject(value["chains"])) return false;
  const length = value["at_unix_s"].length;
  const fits = (holder: Record<string, unknown>, keys: readonly string[]) =>
    keys.every((key) => Array.isArray(holder[key]) && holder[key].length === length);
  const { chains } = value;
  return (
    typeof value["step_s"] === "number" &&
    value["step_s"] > 0 &&
    fits(value, [...COUNT_COLUMNS, ...LOAD_COLUMNS]) &&
    CHAINS.every((name) => {
      const chain = chains[name];
      return isObject(chain) && fits(chain, ["count", "failed", "mean_ns", "p50_ns", "p95_ns"]);
    })
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
