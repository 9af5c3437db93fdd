// The figures of the header, which answer the first questions about a run. Pure.

import { count, duration, rate, share } from "./format";
import { headline as generatorSaid, standing as generatorStanding } from "./generator";
import type { Phase } from "./live";
import { figureWarnings, logWarnings } from "./health";
import { alarms } from "./load";
import type { Recent } from "./series";
import { overall, standing } from "./thresholds";
import { CHAINS, type Live, type Snapshot } from "./wire";

/** Red has failed, amber comes from the load tester, green holds. */
export type Tone = "" | "bad" | "accent" | "good";

export interface Figure {
  value: string;
  note: string;
  tone: Tone;
}

const part = (of: number, all: number) => (all === 0 ? null : of / all);

/** Iterations of all chains: ended, failed, per second since the start. */
export function chainsOf(snapshot: Snapshot): { count: number; failed: number; rps: number } {
  const sum = (key: "count" | "failed" | "rps") => CHAINS.reduce((all, chain) => all + snapshot.chains[chain][key], 0);
  return { count: sum("count"), failed: sum("failed"), rps: sum("rps") };
}

/** Certificates per second: of the last seconds, or of a run that is over. */
export function issuedRate(snapshot: Snapshot, lately: Recent | null, phase: Phase): string {
  if (phase === "ended") return rate(snapshot.issued.per_second);
  return rate(lately === null || lately.seconds === 0 ? null : lately.issued / lately.seconds);
}

/** The 95th percentile of a whole issuance; with too few samples the median, which says so. */
export function issuanceTime(snapshot: Snapshot): Figure & { label: string } {
  const { p50, p95, n } = snapshot.issued.response_time_ns;
  const few = `N ${count(n)}`;
  if (p95 !== null) return { label: "Issuance p95", value: duration(p95), note: `p50 ${duration(p50)}, ${few}`, tone: "" };
  if (p50 !== null) return { label: "Issuance p50", value: duration(p50), note: `${few}; p95 needs 200`, tone: "" };
  return { label: "Issuance p95", value: duration(null), note: `${few}; needs 200`, tone: "" };
}

/** The share of failed iterations, of the last seconds or of a run that is over. A retried request only costs time. */
export function failedShare(snapshot: Snapshot, lately: Recent | null, phase: Phase): Figure {
  const all = chainsOf(snapshot);
  const over = phase === "ended";
  const now = over ? part(all.failed, all.count) : lately === null ? null : part(lately.chainsFailed, lately.chains);
  const requests = part(snapshot.requests_failed, snapshot.requests);
  return {
    value: share(now),
    note: `${count(all.failed)} chains${requests === null ? "" : `, ${share(requests)} of requests`}`,
    tone: now !== null && now > 0 ? "bad" : "",
  };
}

export interface LoadFigure extends Figure {
  /** What is beside the value: `of 250/s`. */
  of: string;
  label: string;
  /** What is asked for, with its unit apart. */
  asked: string;
  unit: string;
}

/** What there is of what is asked for: the rate if a running scenario has one, else workers. */
export function loadOf({ session, snapshot }: Pick<Live, "session" | "snapshot">, phase: Phase): LoadFigure {
  const running = session?.workers_running ?? snapshot.state.workers;
  const target = session?.workers_target ?? snapshot.workers_target ?? 0;
  const rated = Object.entries(session?.scenarios ?? {}).filter(([, { rate, state }]) => rate !== null && state === "running");
  const workers = `${count(running)} of ${count(target)} workers`;
  const [, first] = rated[0] ?? [];
  if (phase !== "ended" && first !== undefined && rated.every(([, { rate_unit }]) => rate_unit === first.rate_unit)) {
    const asked = rated.reduce((sum, [, scenario]) => sum + (scenario.rate ?? 0), 0);
    const reached = rated.reduce((sum, [name]) => sum + (snapshot.scenarios[name]?.rate ?? 0), 0);
    const low = asked > 0 && reached < 0.95 * asked;
    return {
      label: `Target, ${first.rate_unit}`,
      value: rate(reached),
      of: `of ${rate(asked)}/s`,
      asked: rate(asked),
      unit: `${first.rate_unit}/s`,
      note: workers,
      tone: low ? "accent" : "",
    };
  }
  return { label: "Workers", value: count(running), of: `of ${count(target)}`, asked: count(target), unit: target === 1 ? "worker" : "workers", note: stateSaid(session, running, target, phase), tone: "" };
}

function stateSaid(session: Live["session"], running: number, target: number, phase: Phase): string {
  if (phase === "ended") return "the run is over";
  if (session?.state === "paused") return "paused: no chains start";
  if (session?.state === "stopped") return running > 0 ? `stopped, ${count(running)} finishing` : "stopped";
  if (running > target) return `${count(running - target)} finishing`;
  return running < target ? `${count(target - running)} starting` : "all running";
}

/** Whether the load tester keeps up. */
export function testerOf({ generator }: Snapshot, phase: Phase): Figure {
  const how = generatorStanding(generator);
  const lag = generator.lag_ns.p99 ?? generator.lag_ns.max;
  const now = how === "is" && phase !== "ended";
  return {
    value: how === "unknown" ? "–" : how === "fine" ? (phase === "ended" ? "kept up" : "keeps up") : now ? "is the limit" : "was the limit",
    note: how === "unknown" ? "not measured yet" : how === "fine" ? `lag ${duration(lag)}` : `for ${duration(generator.limited_ns)}, lag ${duration(lag)}`,
    tone: how === "fine" ? "good" : how === "unknown" ? "" : "accent",
  };
}

/** The verdict so far; `searching` for a capacity search, which judges its steps. */
export function verdictOf(snapshot: Snapshot, phase: Phase, searching = false): Figure {
  const { thresholds, never_succeeded } = snapshot;
  const over = phase === "ended";
  const failed = thresholds.filter((threshold) => standing(threshold) === "failed");
  if (never_succeeded.length > 0) {
    return { value: "✗ fails", note: `${never_succeeded.map(({ chain }) => chain).join(", ")} never succeeded`, tone: "bad" };
  }
  if (thresholds.length === 0 && searching) return { value: "by step", note: "the search judges each step", tone: "" };
  if (thresholds.length === 0) return { value: "none", note: "no thresholds are set", tone: "" };
  const holding = thresholds.filter((threshold) => standing(threshold) === "passed").length;
  const sign = failed.length > 0 ? "✗" : holding === thresholds.length ? "✓" : "?";
  return {
    value: `${sign} ${count(holding)} of ${count(thresholds.length)}`,
    note: failed[0]?.expression ?? overall(thresholds, over),
    tone: failed.length > 0 ? "bad" : holding === thresholds.length ? "good" : "",
  };
}

export interface Alarm {
  text: string;
  title: string;
  tab: "overview" | "log";
}

/** What makes the figures or the log doubtful, or needs a person. */
export function alarmsOf(live: Live, phase: Phase): Alarm[] {
  const { generator } = live.snapshot;
  const [ofLog, ofFigures] = [logWarnings(live), figureWarnings(live)];
  const found: (Alarm | false)[] = [
    generator.limited && {
      text: "load tester limited",
      title: generatorSaid(generator, phase === "ended"),
      tab: "overview",
    },
    ofLog.length > 0 && {
      text: live.health.log_error === null ? "log incomplete" : "log cannot be written",
      title: ofLog.join("\n"),
      tab: "log",
    },
    ofFigures.length > 0 && { text: "figures incomplete", title: ofFigures.join("\n"), tab: "log" },
  ];
  const scenarios = Object.entries(live.session?.scenarios ?? {}).flatMap(([name, target]) => {
    const figures = live.snapshot.scenarios[name];
    return figures === undefined ? [] : alarms(figures, target);
  });
  const [first] = scenarios;
  if (first !== undefined) {
    const text = first.split(":")[0]?.toLowerCase() ?? "";
    found.push({ text: scenarios.length > 1 ? `${text} +${scenarios.length - 1}` : text, title: scenarios.join("\n"), tab: "overview" });
  }
  return found.filter((alarm) => alarm !== false);
}

/** Points of a line through the values, in a box of this size; gaps are left out. */
export function sparkline(values: readonly (number | null)[], width: number, height: number): string {
  const known = values.filter((value) => value !== null);
  const most = Math.max(...known, 0);
  if (known.length < 2 || most === 0) return "";
  const step = width / (values.length - 1);
  return values
    .flatMap((value, n) => (value === null ? [] : [`${(n * step).toFixed(1)},${(height - 1 - (value / most) * (height - 2)).toFixed(1)}`]))
    .join(" ");
}
