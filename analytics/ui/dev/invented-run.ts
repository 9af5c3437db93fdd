// An invented run behind the real API's paths, for working on the page without a CA. Never part of a build.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";

import { DEFAULT_WEIGHTS } from "../src/chains";
import { mark, NO_SCENARIO } from "../src/testing";
import { BOUND } from "../src/series";
import { agents, comparison, machines, observed, sessionsOf } from "./invented-board";
import {
  CHAINS,
  type Chain,
  type ChainSeries,
  type DistributionView,
  type EndpointFigures,
  type LimitsView,
  type Live,
  type LoadState,
  type MarkValue,
  type RunEntry,
  type Series,
  type ValueView,
  type SessionView,
  type Interval,
  type Timing,
  type Trend,
} from "../src/wire";

const SECOND = 1e9;
/** For each chain: how often a worker runs it each second, its time and its requests. */
const MODEL: Partial<Record<Chain, { share: number; ms: number; spread: number; requests: string[] }>> = {
  registration: { share: 0.9, ms: 9, spread: 0.3, requests: ["newNonce", "newAccount"] },
  authorization: {
    share: 1.6,
    ms: 340,
    spread: 0.5,
    requests: ["newOrder", "authorization", "challenge", "authorization", "authorization", "order"],
  },
  certificate: { share: 1.5, ms: 48, spread: 0.35, requests: ["finalize", "order", "certificate"] },
  refresh: { share: 0.5, ms: 410, spread: 0.5, requests: ["renewalInfo", "newOrder", "authorization", "challenge", "finalize", "certificate"] },
  revoke: { share: 0.12, ms: 14, spread: 0.3, requests: ["revokeCert"] },
};
const PLAIN = { share: 0.2, ms: 20, spread: 0.3, requests: ["account"] };
const URIS: Record<string, string> = {
  newNonce: "/nonce-plz",
  newAccount: "/sign-me-up",
  newOrder: "/order-plz",
  order: "/my-order/{id}",
  authorization: "/authZ/{id}",
  challenge: "/chalZ/{id}",
  finalize: "/finalize-order/{id}",
  certificate: "/certZ/{id}",
  renewalInfo: "/renewal-info/{id}",
  revokeCert: "/revoke-cert",
};

/** The problem document of a failed validation. */
const DOCUMENT = JSON.stringify({
  type: "urn:ietf:params:acme:error:unauthorized",
  detail: "the authorization of a-42.wec.test became invalid",
  status: 403,
  instance: "https://ca.test/problems/812",
  subproblems: [{ type: "urn:ietf:params:acme:error:unauthorized", detail: "the key authorization file from the server did not match", identifier: { type: "dns", value: "a-42.wec.test" } }],
});

interface Patch {
  workers?: number;
  weights?: Partial<Record<Chain, number>>;
  limits?: Partial<LimitsView>;
  state?: SessionView["state"];
}

/** How the run is invented. */
export interface Invention {
  workers: number;
  /** Further kinds of failures. */
  kinds: number;
  /** Nodes beyond the first. */
  nodes: number;
}

export function inventedRun(): Plugin {
  return {
    name: "invented-run",
    configureServer(server) {
      const run = new Run();
      const timer = setInterval(() => run.tick(), 1_000);
      server.httpServer?.on("close", () => clearInterval(timer));
      server.middlewares.use((request, response, next) => {
        // The page's requests are relative, also those of the gallery in its folder.
        request.url = request.url?.replace(/^\/dev(?=\/api\/)/, "");
        if (!request.url?.startsWith("/api/v1/")) return next();
        run.answer(request, response);
      });
    },
  };
}

/** An invented run, at its second of time for each `tick`. */
export class Run {
  readonly #started = Math.floor(Date.now() / 1000) - 75;
  /** The next second, seconds since the Unix epoch. */
  #next = this.#started;
  #target: number;
  #running: number;
  #state: SessionView["state"] = "running";
  #weights: Record<Chain, number> = { ...DEFAULT_WEIGHTS };
  #limits: LimitsView = { registrations: null, authorizations: null, certificates: null };
  #listeners = new Set<ServerResponse>();
  #series: Series = { step_s: 1, reset: true, at_unix_s: [], issued: [], requests: [], requests_failed: [], bytes_sent: [], bytes_received: [], hits: [], workers_target: [], workers: [], busy: [], chains_target: [], requests_target: [], lag_p99_ns: [], lag_max_ns: [], registrations: [], authorizations: [], certificates: [], classes: {}, chains: perChain(emptySeries) };
  #times = new Map<string, Times>();
  #failed = new Map<string, number>();
  #hits = { answered: new Times(), unknown: new Times() };
  #marks: Live["snapshot"]["marks"] = [];

  constructor(readonly invention: Invention = { workers: 20, kinds: 0, nodes: 0 }) {
    const { workers } = invention;
    this.#target = this.#running = workers;
    this.#markWorkers(this.#started, "cli", 0, workers);
    while (this.#next < Date.now() / 1000 - 1) {
      if (this.#next === this.#started + 40 && workers < 50) this.#change(50, "page", this.#next);
      this.#second(this.#next);
      this.#next += 1;
    }
  }

  /** The time of the run, milliseconds since the Unix epoch: it passes by ticks. */
  #now(): number {
    return (this.#next + 1) * 1000;
  }

  /** Requests so far. */
  requests(): number {
    return this.#series.requests.reduce<number>((sum, requests) => sum + requests, 0);
  }

  tick(): void {
    this.#second(this.#next);
    this.#next += 1;
    // As many buckets as a server keeps.
    if (this.#series.at_unix_s.length > BOUND) this.#series = lastOf(this.#series, BOUND);
    const event = `event: live\ndata: ${JSON.stringify(this.#live(3))}\n\n`;
    for (const listener of this.#listeners) listener.write(event);
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url?.replace(/\?.*/, "");
    if (path === "/api/v1/runs/current/live") {
      response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
      response.write(`event: live\ndata: ${JSON.stringify(this.live())}\n\n`);
      this.#listeners.add(response);
      request.on("close", () => this.#listeners.delete(response));
    } else if (path?.startsWith("/api/v1/sessions/") && request.method === "PATCH") {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => this.#patch(JSON.parse(body) as Patch, response));
    } else if (path === "/api/v1/sessions" && request.method === "GET") {
      json(response, 200, sessionsOf(this.#session(), this.#runs(), this.#started * SECOND));
    } else if (path === "/api/v1/nodes") {
      json(response, 200, agents(this.#started * SECOND));
    } else if (path === "/api/v1/machines/live") {
      response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
      response.write(`event: machines\ndata: ${JSON.stringify(machines(this.#running))}\n\n`);
    } else if (path === "/api/v1/comparison") {
      const query = new URLSearchParams(request.url?.split("?")[1]);
      json(response, 200, comparison(query.get("before") ?? "", query.get("after") ?? ""));
    } else if (path?.endsWith("/observed")) {
      json(response, 200, observed(this.#series.at_unix_s));
    } else if (path === "/api/v1/scenarios/check") {
      json(response, 200, { keys: { directory: "https://localhost:14000/dir" }, mistakes: [] });
    } else if (path === "/api/v1/runs") {
      json(response, 200, { runs: this.#runs() });
    } else if (path?.endsWith("/distribution")) {
      json(response, 200, this.#distribution(new URLSearchParams(request.url?.split("?")[1]).get("row") ?? ""));
    } else if (path === "/api/v1/runs/current/snapshot") {
      json(response, 200, this.live());
    } else {
      json(response, 404, { error: `no such path: ${path}` });
    }
  }

  #patch({ workers, weights, limits, state }: Patch, response: ServerResponse): void {
    const now = this.#now() / 1000;
    if ((workers ?? 0) > 1_000_000) {
      return json(response, 400, { error: `workers: ${workers} is not a whole number from 0 to 1000000` });
    }
    if (workers !== undefined) this.#change(workers, "page", now);
    if (state !== undefined) {
      const value = (state: string): MarkValue => ({ kind: "state", value: state as LoadState });
      this.#mark(now, "page", "state", value(this.#state), value((this.#state = state)));
    }
    for (const [chain, weight] of Object.entries(weights ?? {})) {
      const value = (weight: number): MarkValue => ({ kind: "weights", value: [{ chain, weight }] });
      this.#mark(now, "page", "weights", value(this.#weights[chain as Chain]), value(weight));
      this.#weights[chain as Chain] = weight;
    }
    for (const [key, limit] of Object.entries(limits ?? {})) {
      const value = (limit: number | null): MarkValue => ({ kind: "limits", value: [{ objects: key, limit }] });
      this.#mark(now, "page", "limits", value(this.#limits[key as keyof LimitsView] ?? null), value(limit));
      this.#limits[key as keyof LimitsView] = limit;
    }
    json(response, 200, { session: this.#session(), changes: [] });
  }

  #runs(): RunEntry[] {
    const { run, elapsed_ns } = this.#live(0).snapshot;
    const outcomes: RunEntry["outcome"][] = [
      { elapsed_ns: 602e9, chains: 184_312, chains_failed: 0, passed: true },
      { elapsed_ns: 3_605e9, chains: 1_204_118, chains_failed: 2_310, passed: false },
      { elapsed_ns: 41e9, chains: 402, chains_failed: 1, passed: null },
      null,
    ];
    const entry = (id: string, started_unix_ns: number, live: boolean, outcome: RunEntry["outcome"]): RunEntry => ({
      id,
      session: run.session,
      program: run.program,
      target: run.target,
      started_unix_ns,
      live,
      log: `results/${id}.jsonl`,
      log_bytes: outcome === null ? 812_000_000 : outcome.chains * 2_048,
      outcome,
      note: outcome?.passed === false ? "Before the new disks; the database was the limit." : "",
    });
    const before = outcomes.map((outcome, index) =>
      entry(`20261121-0${8 - index}5602`, run.started_unix_ns - (index + 1) * 4_321 * SECOND, false, outcome),
    );
    const now = { elapsed_ns, chains: 4_120, chains_failed: 12, passed: null };
    return [entry(run.id, run.started_unix_ns, true, now), ...before];
  }

  #change(workers: number, by: string, second: number): void {
    this.#markWorkers(second, by, this.#target, workers);
    this.#target = workers;
  }

  #markWorkers(second: number, by: string, from: number, to: number): void {
    this.#mark(second, by, "workers", { kind: "workers", value: from }, { kind: "workers", value: to });
  }

  #mark(second: number, by: string, what: string, before: MarkValue, after: MarkValue): void {
    const scenario = what === "workers" || what === "weights" ? "default" : "";
    this.#marks.push(mark(what, before, after, { at_unix_ns: second * SECOND, by, scenario }));
  }

  #session(): NonNullable<Live["session"]> {
    return {
      id: "demo",
      plan: null,
      state: this.#state,
      workers_target: this.#target,
      workers_running: this.#running,
      limits: this.#limits,
      scenarios: {
        default: { state: "running", workers: this.#target, rate: null, rate_unit: "", weights: this.#weights, scheduled: false, values: numbers(this.#target) },
        storm: { state: "running", workers: 20, rate: 50, rate_unit: "chains", weights: {}, scheduled: true, values: numbers(20, 50, "chains") },
        adaptive: { state: "running", workers: 500, rate: 500, rate_unit: "requests", weights: {}, scheduled: false, values: numbers(500, 500, "requests") },
        warmup: { state: "ended", workers: 10, rate: null, rate_unit: "", weights: {}, scheduled: false, values: numbers(10) },
        cooldown: { state: "waiting", workers: 5, rate: null, rate_unit: "", weights: {}, scheduled: false, values: numbers(5) },
      },
    };
  }

  #second(second: number): void {
    this.#running += Math.sign(this.#target - this.#running) * Math.min(12, Math.abs(this.#target - this.#running));
    const busy = this.#state === "running" ? this.#running : 0;
    const slow = 1 + this.#running / 90 + 0.12 * Math.sin(second / 7);
    let requests = 0;
    let failed = 0;
    let hits = 0;
    let brokenNow = 0;
    this.#series.at_unix_s.push(second);
    for (const chain of CHAINS) {
      const model = MODEL[chain] ?? PLAIN;
      const column = this.#series.chains[chain];
      const samples: number[] = [];
      const n = Math.round((busy * model.share * (0.9 + 0.2 * Math.random())) / slow);
      let broken = 0;
      for (let i = 0; i < n; i += 1) {
        const ns = model.ms * 1e6 * slow * Math.exp(model.spread * normal());
        if (Math.random() < 0.004) {
          broken += 1;
          this.#failed.set(chain, (this.#failed.get(chain) ?? 0) + 1);
        } else {
          samples.push(ns);
          this.#timesOf(chain).add(ns);
        }
        for (const endpoint of model.requests) {
          requests += 1;
          this.#timesOf(`/${endpoint}`).add((ns / model.requests.length) * (0.6 + Math.random()));
          if (Math.random() < 0.05 && endpoint !== "newNonce") {
            requests += 1;
            failed += 1;
            this.#failed.set(`/${endpoint}`, (this.#failed.get(`/${endpoint}`) ?? 0) + 1);
          }
        }
        if (model.requests.includes("challenge")) {
          hits += 1;
          this.#hits[Math.random() < 0.002 ? "unknown" : "answered"].add(1.2e5 * Math.exp(0.4 * normal()));
        }
      }
      samples.sort((a, b) => a - b);
      column.count.push(n);
      column.failed.push(broken);
      brokenNow += broken;
      column.mean_ns.push(samples.length === 0 ? null : samples.reduce((a, b) => a + b) / samples.length);
      column.p50_ns.push(percentile(samples, 0.5));
      column.p95_ns.push(percentile(samples, 0.95));
      column.p99_ns.push(percentile(samples, 0.99));
      column.ca_mean_ns.push(samples.length === 0 ? null : 0.7 * (column.mean_ns.at(-1) ?? 0));
    }
    this.#series.issued.push((this.#series.chains.certificate.count.at(-1) ?? 0) - (this.#series.chains.certificate.failed.at(-1) ?? 0));
    this.#series.requests.push(requests);
    this.#series.requests_failed.push(failed);
    this.#series.bytes_sent.push(requests * 1310);
    this.#series.bytes_received.push(requests * 1840);
    this.#series.hits.push(hits);
    (this.#series.classes["problem"] ??= this.#series.at_unix_s.slice(1).map(() => 0)).push(brokenNow);
    const lag = 1.5e5 * Math.exp(0.2 * normal()) * (this.#running > 40 ? 200 : 1);
    this.#series.workers_target.push(this.#target);
    this.#series.workers.push(this.#running);
    this.#series.busy.push(this.#running - Math.round(3 * Math.random()));
    this.#series.chains_target.push(null);
    this.#series.requests_target.push(null);
    this.#series.lag_p99_ns.push(lag);
    this.#series.lag_max_ns.push(lag * (2 + Math.random()));
    const made = (chain: Chain) => this.#series.chains[chain].count.reduce((a, b) => a + b, 0);
    this.#series.registrations.push(made("registration"));
    this.#series.authorizations.push(Math.max(0, made("authorization") - made("certificate")));
    this.#series.certificates.push(made("certificate") - made("revoke"));
  }

  /** A trend of as many failures, with more of them in the middle of the run. */
  #trend(count: number): Trend {
    const [step_s, buckets] = [4, 20];
    const shape = Array.from({ length: buckets }, (_, n) => Math.exp(-(((n - 9) / 4) ** 2)));
    const all = shape.reduce((a, b) => a + b, 0);
    return { step_s, from_unix_s: this.#started, counts: shape.map((part) => Math.round((count * part) / all)) };
  }

  #distribution(row: string): DistributionView {
    const chain = CHAINS.find((chain) => row === `chain ${chain}`);
    const name = chain ?? (row.startsWith("endpoint ") ? `/${row.split(" ")[1] ?? ""}` : "certificate");
    const cells = this.#timesOf(name).cells();
    const over_time = row.startsWith("node ") || row.startsWith("challenge ") ? [] : this.#series.at_unix_s.map((at_unix_s, n) => ({ at_unix_s, cells: cells.map((cell) => ({ ...cell, count: Math.round(cell.count / (20 + 10 * Math.sin(n / 5 + cell.from_ns))) })).filter(({ count }) => count > 0) }));
    const examples = cells.slice(-3).reverse().map(({ from_ns }, n) => ({ at_unix_ns: this.#now() * 1e6 - (n + 1) * 7e9, response_ns: from_ns, service_ns: 0.98 * from_ns, status: chain === undefined ? 200 : 0, requests: chain === undefined ? 1 : 7, chain: chain ?? ("certificate" as const), node: "bench-1-4f2a", seq: 812 + n, traceparent: "" }));
    return { row, service: false, cells, over_time, step_s: 1, examples };
  }

  #timesOf(name: string): Times {
    const times = this.#times.get(name) ?? new Times();
    this.#times.set(name, times);
    return times;
  }

  /** Limited while it has more than 40 workers. */
  #generator(): Live["snapshot"]["generator"] {
    const over = this.#series.workers.filter((workers) => (workers ?? 0) > 40).length;
    const limited_now = this.#running > 40;
    const lags = new Times();
    for (const lag of this.#series.lag_max_ns.slice(-60)) for (let i = 0; i < 100; i += 1) lags.add((lag ?? 0) * Math.random());
    return {
      limited: over > 0,
      limited_now,
      limited_ns: over * SECOND,
      causes: {
        cap: { limited_now: false, limited_ns: 0 },
        machine: { limited_now: false, limited_ns: 0 },
        wec: { limited_now, limited_ns: over * SECOND },
      },
      distortion: null,
      limits:
        over === 0
          ? []
          : [
              {
                node: "r1",
                what: "cpu",
                cause: "wec",
                place: "worker thread 0",
                now: limited_now,
                worst: 0.97,
                bound: 0.9,
                against_ns: 0,
                first_unix_ns: (this.#started + 42) * SECOND,
                total_ns: over * SECOND,
                reason: `worker thread 0 used up to 97 % of its processor, for ${over} s: use more machines or fewer chains/s`,
              },
            ],
      lag_ns: lags.timing(),
      cpu_share: limited_now ? 0.94 : 0.31,
      cpu_share_max: over > 0 ? 0.97 : 0.34,
      cpu_wait_share: 0.02,
      cpu_wait_share_max: 0.05,
      processors: limited_now ? 1.8 : 0.6,
      backlog_share: 0.003,
      backlog_share_max: 0.008,
      due: 0,
      dropped: 0,
      dropped_share: null,
    };
  }

  /** All figures, as when a page opens. */
  live(): Live {
    return this.#live(Infinity);
  }

  #live(buckets: number): Live {
    const elapsed = this.#now() / 1000 - this.#started;
    const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
    const none = new Times().timing();
    const requests = sum(this.#series.requests);
    const requestsFailed = sum(this.#series.requests_failed);
    const chains = Object.fromEntries(
      CHAINS.map((chain) => {
        const { count, failed } = this.#series.chains[chain];
        const timing = this.#timesOf(chain).timing();
        return [
          chain,
          {
            count: sum(count),
            failed: sum(failed),
            cut_off: 0,
            abandoned: chain === "authorization" ? Math.round(sum(count) / 20) : 0,
            rps: sum(count) / elapsed,
            response_time_ns: timing,
            service_time_ns: timing,
            failed_response_time_ns: none,
            failed_service_time_ns: none,
            keygen_ns: 0,
            time: { requests_ns: timing, connecting_ns: none, asked_ns: none, polls_ns: none, keys_ns: none, own_ns: none },
            classes: {},
          },
        ];
      }),
    ) as Live["snapshot"]["chains"];
    const endpoints = [...this.#times].filter(([name]) => name.startsWith("/")).map(([name, times]): EndpointFigures => {
      const failed = this.#failed.get(name) ?? 0;
      const timing = times.timing();
      const endpoint = name.slice(1);
      const method = { newNonce: "HEAD", renewalInfo: "GET" }[endpoint] ?? "POST";
      return {
        endpoint,
        method,
        uri: URIS[endpoint] ?? "",
        count: timing.n + failed,
        failed,
        cut_off: 0,
        outcome_unknown: 0,
        rps: (timing.n + failed) / elapsed,
        bytes_received: (timing.n + failed) * 840,
        response_time_ns: timing,
        service_time_ns: timing,
        failed_response_time_ns: none,
        failed_service_time_ns: none,
        phases: { new: 0, reused: timing.n + failed, dns_ns: none, connect_ns: none, tls_ns: none, first_byte_ns: none },
      };
    });
    return {
      now_unix_ns: this.#now() * 1e6,
      run_ns: elapsed * SECOND,
      active_ns: elapsed * SECOND,
      source: "live",
      current: "",
      may_steer: true,
      replay: null,
      session: this.#session(),
      nodes: [
        { id: "r1", name: "bench-1", kind: "requester", state: "running", workers: this.#running },
        { id: "c1", name: "bench-1", kind: "challenge-server", state: "serving", workers: 0 },
      ],
      capacity: null,
      health: {
        log: "results/20261121-101502.jsonl",
        log_bytes: requests * 412,
        log_failed: 0,
        log_error: null,
        log_problems: [],
        queued_batches: 2,
        queue_bound: 1024,
        duplicates: 0,
        gaps: 0,
        senders: 2,
        listeners: [],
      },
      snapshot: {
        version: 1,
        run: {
          id: "20261121-101502-4f2a",
          session: "demo",
          program: "wec 0.1.0",
          target: "https://127.0.0.1:14000/dir",
          started_unix_ns: this.#started * SECOND,
          run_time_ns: 600e9,
          warm_up_ns: 0,
          stamp: { host: "bench-1", platform: "linux x86_64", cpus: 2, scenario: null },
        },
        at_unix_ns: this.#now() * 1e6,
        elapsed_ns: elapsed * SECOND,
        period: null,
        requests,
        requests_failed: requestsFailed,
        refused_origins: 0,
        rps: requests / elapsed,
        response_time_ns: this.#timesOf("certificate").timing(),
        issued: { count: sum(this.#series.issued), per_second: sum(this.#series.issued) / elapsed, response_time_ns: this.#timesOf("certificate").timing() },
        chains,
        endpoints,
        unverified: {},
        orders_expired: 0,
        ca_clock_ahead_s: null,
        profiles: {},
        failures: [...this.#failed]
          .map(([name, count]): Live["snapshot"]["failures"][number] =>
            name.startsWith("/")
              ? { scope: "request", name: name.slice(1), class: "bad-nonce", status: 400, problem: "badNonce", count, first_unix_ns: (this.#started + 3) * SECOND, last_unix_ns: this.#now() * 1e6, detail: "", retry_after_min_ns: null, retry_after_max_ns: null, retry_kept: 0, retry_early: 0, trend: this.#trend(count), example: "JWS has an invalid anti-replay nonce: 3hJ2w9", request_id: "", traceparent: "", document: "", node: "r1", seq: 7 }
              : { scope: "chain", name, class: "validation", status: 403, problem: "unauthorized", count, first_unix_ns: (this.#started + 12) * SECOND, last_unix_ns: this.#now() * 1e6, detail: "", retry_after_min_ns: null, retry_after_max_ns: null, retry_kept: 0, retry_early: 0, trend: this.#trend(count), example: "the authorization of a-42.wec.test became invalid: the key authorization file from the server did not match", request_id: "", traceparent: "", document: DOCUMENT, node: "r1", seq: 812 },
          )
          .concat(Array.from({ length: this.invention.kinds }, (_, n): Live["snapshot"]["failures"][number] => ({ scope: "request", name: "newOrder", class: "problem", status: 500 + (n % 4), problem: "serverInternal", count: n + 1, first_unix_ns: (this.#started + 3) * SECOND, last_unix_ns: this.#now() * 1e6, detail: `part ${n}`, retry_after_min_ns: null, retry_after_max_ns: null, retry_kept: 0, retry_early: 0, trend: this.#trend(n + 1), example: "the database is locked", request_id: `r-${n}`, traceparent: "", document: "", node: "r2", seq: n })))
          .sort((a, b) => b.count - a.count),
        nonces: { fetched: 120, rejected: requestsFailed, rejected_share: requestsFailed / requests, age_ns: none },
        retries: requestsFailed,
        polls: Math.round(requests * 0.3),
        connections: { new: 50, reused: requests - 50, reconnects: 0 },
        bytes: { sent: requests * 1310, received: requests * 1840 },
        validations: [],
        hit_sources: [
          { address: "10.0.0.4", count: this.#hits.answered.timing().n, unknown: 0 },
          { address: "2001:db8::7", count: this.#hits.unknown.timing().n, unknown: this.#hits.unknown.timing().n },
        ],
        unknown_hits: [{ at_unix_ns: (this.#started + 30) * SECOND, name: "left-over.wec.test", type: "http-01", address: "2001:db8::7" }],
        nodes: [{ node: "r1", chains: chains.certificate.count, chains_failed: 3, requests, requests_failed: requestsFailed, rps: requests / elapsed, response_time_ns: this.#timesOf("certificate").timing(), lag_ns: none }].concat(
          Array.from({ length: this.invention.nodes }, (_, n) => ({ node: `r${n + 2}`, chains: 0, chains_failed: 0, requests: 0, requests_failed: 0, rps: 0, response_time_ns: none, lag_ns: none })),
        ),
        hits: (["answered", "unknown"] as const).map((verdict) => {
          const took_ns = this.#hits[verdict].timing();
          return { type: "http-01", verdict, count: took_ns.n, took_ns };
        }),
        state: {
          registrations: chains.registration.count,
          authorizations: Math.max(0, chains.authorization.count - chains.certificate.count),
          certificates: chains.certificate.count - chains.revoke.count,
          revoked: chains.revoke.count,
          workers: this.#running,
          unwritten: 0,
          claimed: Math.round(this.#running * 0.7),
        },
        workers_target: this.#target,
        scenarios: {
          default: { ...NO_SCENARIO, workers: this.#running, busy: Math.round(this.#running * 0.9) },
          storm: { ...NO_SCENARIO, workers: 20, busy: 20, rate: 41.2, due: 4_120, dropped: 318 },
          adaptive: { ...NO_SCENARIO, workers: 61, busy: 60, rate: 402.7, reach: "saturated", saturated_ns: 14e9 },
          warmup: NO_SCENARIO,
          cooldown: NO_SCENARIO,
        },
        generator: this.#generator(),
        never_succeeded: [],
        thresholds: [
          { expression: "chain.certificate{p(99)} < 2s", unit: "ns", value: chains.certificate.response_time_ns.p99, limit: 2e9, passed: true, n: chains.certificate.count, windows: null, windows_failed: null, worst_unix_ns: null, aborted: false },
          { expression: "requests{endpoint=newOrder}{failed} < 1%", unit: "share", value: 0.0483, limit: 0.01, passed: false, n: chains.authorization.count, windows: null, windows_failed: null, worst_unix_ns: null, aborted: false },
          { expression: "chain.certificate{p(95)} < 60ms over 30s", unit: "ns", value: 71.3e6, limit: 60e6, passed: false, n: 412, windows: Math.max(1, Math.floor(elapsed) - 30), windows_failed: 2, worst_unix_ns: (this.#started + 44) * SECOND, aborted: false },
          { expression: "rate{achieved/target} > 0.98", unit: "share", value: null, limit: 0.98, passed: null, n: 0, windows: null, windows_failed: null, worst_unix_ns: null, aborted: false },
        ],
        warnings: [
          { level: "warn", count: 12, first_unix_ns: (this.#started + 9) * SECOND, last_unix_ns: (this.#started + 31) * SECOND, nodes: ["invented-1", "invented-2"], target: "wec_store::state", text: "a certificate was not stored error=database is locked" },
        ],
        observed: [],
        marks: this.#marks,
        gaps: [],
        missing: { lost_results: 0, unknown_chains: 0, unknown_records: 0, other_warnings: 0, clamped_times: 0, other_endpoints: 0, other_failures: 0, dropped_marks: 0, other_scenarios: 0, observed_left_out: 0, other_observed: 0, outside_series: 0, unjoined_hits: 0 },
      },
      series: lastOf(this.#series, buckets),
    };
  }
}

/** Keeps the latest two thousand times. */
class Times {
  #n = 0;
  #kept: number[] = [];

  add(ns: number): void {
    this.#kept[this.#n % 2_000] = ns;
    this.#n += 1;
  }

  /** As the server's cells: eight to a doubling. */
  cells(): DistributionView["cells"] {
    const cells = new Map<number, number>();
    for (const ns of this.#kept) {
      const width = 2 ** Math.max(0, Math.floor(Math.log2(Math.max(1, ns))) - 3);
      const from = Math.floor(ns / width) * width;
      cells.set(from, (cells.get(from) ?? 0) + 1);
    }
    const width = (from: number) => 2 ** Math.max(0, Math.floor(Math.log2(Math.max(1, from))) - 3);
    return [...cells].sort(([a], [b]) => a - b).map(([from_ns, count]) => ({ from_ns, to_ns: from_ns + width(from_ns), count }));
  }

  timing(): Timing {
    const sorted = [...this.#kept].sort((a, b) => a - b);
    const mean = sorted.length === 0 ? null : sorted.reduce((a, b) => a + b, 0) / sorted.length;
    const deviation = mean === null ? 0 : Math.sqrt(sorted.reduce((a, b) => a + (b - mean) ** 2, 0) / sorted.length);
    return {
      n: this.#n,
      mean,
      std_error: this.#n < 2 ? null : deviation / Math.sqrt(this.#n),
      min: sorted[0] ?? null,
      p50: percentile(sorted, 0.5),
      p50_ci: interval(sorted, 0.5),
      p90: percentile(sorted, 0.9),
      p90_ci: interval(sorted, 0.9),
      p95: percentile(sorted, 0.95),
      p95_ci: interval(sorted, 0.95),
      p99: percentile(sorted, 0.99),
      p99_ci: interval(sorted, 0.99),
      p99_9: percentile(sorted, 0.999),
      p99_9_ci: interval(sorted, 0.999),
      max: sorted.at(-1) ?? null,
    };
  }
}

function percentile(sorted: number[], p: number): number | null {
  return sorted.length * Math.min(p, 1 - p) < 9.999 ? null : (sorted[Math.ceil(sorted.length * p) - 1] ?? null);
}

/** A percentile's interval as the server computes it, by the normal approximation. */
function interval(sorted: number[], p: number): Interval | null {
  if (percentile(sorted, p) === null) return null;
  const reach = 1.96 * Math.sqrt(sorted.length * p * (1 - p));
  const at = (rank: number) => sorted[Math.min(Math.max(Math.round(rank), 1), sorted.length) - 1] ?? 0;
  return [at(sorted.length * p - reach), at(sorted.length * p + reach + 1)];
}

function normal(): number {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

function perChain<T>(make: () => T): Record<Chain, T> {
  return Object.fromEntries(CHAINS.map((chain) => [chain, make()])) as Record<Chain, T>;
}

function emptySeries(): ChainSeries {
  return { count: [], failed: [], mean_ns: [], p50_ns: [], p95_ns: [], p99_ns: [], ca_mean_ns: [] };
}

function lastOf(series: Series, buckets: number): Series {
  const cut = <T>(values: T[]) => values.slice(Math.max(0, values.length - buckets));
  return {
    step_s: series.step_s,
    reset: buckets === Infinity,
    at_unix_s: cut(series.at_unix_s),
    issued: cut(series.issued),
    requests: cut(series.requests),
    requests_failed: cut(series.requests_failed),
    bytes_sent: cut(series.bytes_sent),
    bytes_received: cut(series.bytes_received),
    hits: cut(series.hits),
    workers_target: cut(series.workers_target),
    workers: cut(series.workers),
    busy: cut(series.busy),
    chains_target: cut(series.chains_target),
    requests_target: cut(series.requests_target),
    lag_p99_ns: cut(series.lag_p99_ns),
    lag_max_ns: cut(series.lag_max_ns),
    registrations: cut(series.registrations),
    authorizations: cut(series.authorizations),
    certificates: cut(series.certificates),
    classes: Object.fromEntries(Object.entries(series.classes).map(([name, column]) => [name, cut(column)])),
    chains: Object.fromEntries(
      CHAINS.map((chain) => {
        const { count, failed, mean_ns, p50_ns, p95_ns, p99_ns, ca_mean_ns } = series.chains[chain];
        return [chain, { count: cut(count), failed: cut(failed), mean_ns: cut(mean_ns), p50_ns: cut(p50_ns), p95_ns: cut(p95_ns), p99_ns: cut(p99_ns), ca_mean_ns: cut(ca_mean_ns) }];
      }),
    ) as Series["chains"],
  };
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(value));
}

/** The numbers of a scenario that can be changed. */
function numbers(workers: number, rate?: number, unit = ""): ValueView[] {
  const most = 1_000_000;
  const value = { key: "workers", label: rate === undefined ? "Workers" : "At most", unit: rate === undefined ? "" : "workers", whole: true, most, value: workers };
  return rate === undefined ? [value] : [value, { key: "rate", label: "Rate", unit: `${unit}/s`, whole: false, most, value: rate }];
}
