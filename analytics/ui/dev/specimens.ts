// What the gallery shows: runs in all their states, invented once.

import { CURRENT } from "../src/address";
import type { Phase } from "../src/live";
import { merge } from "../src/series";
import { live, NO_SCENARIO, series } from "../src/testing";
import { RunView } from "../src/view.svelte";
import type { Live } from "../src/wire";
import { Run } from "./invented-run";

const busy = new Run({ workers: 20, kinds: 5, nodes: 2 }).live();
const NOW_S = Math.floor(Date.now() / 1000);
const quiet = live(series([NOW_S - 2, NOW_S - 1]));
Object.assign(quiet, { now_unix_ns: NOW_S * 1e9 });
quiet.snapshot.run.started_unix_ns = (NOW_S - 5) * 1e9;

/** A copy with a change. */
export function changed(of: Live, change: (live: Live) => void): Live {
  const copy = structuredClone(of);
  change(copy);
  return copy;
}

/** What is shown of a run whose figures are these; without any, of one that has not answered. */
function viewOf(of: Live | null, connection: Phase, why = ""): RunView {
  const view = new RunView(CURRENT);
  if (of !== null) {
    view.columns = merge(null, { ...of.series, reset: true });
    view.live = of;
  }
  view.connection = connection;
  view.why = why;
  return view;
}

const replay = { state: "paused" as const, position_ns: 40e9, length_ns: 75e9, speed: 4, started_unix_ns: busy.snapshot.run.started_unix_ns, seeking: false };

/** Runs with figures, by their state. */
export const RUNS = {
  "goes on": viewOf(busy, "live"),
  "has just begun": viewOf(quiet, "live"),
  "is paused": viewOf(changed(busy, ({ session }) => session !== null && (session.state = "paused")), "live"),
  "is over": viewOf(busy, "ended"),
  "lost connection": viewOf(busy, "lost"),
  "is replayed": viewOf(changed(busy, (live) => (live.replay = replay)), "live"),
  "searches capacity": viewOf(changed(busy, (live) => (live.capacity = { status: "step 3: 40 chains/s for 30 s", over: false, sustained: 20, failed: null, steps: [] })), "live"),
  "has one scenario with a rate": viewOf(
    changed(quiet, ({ session, snapshot }) => {
      if (session === null) return;
      const rate = { key: "rate", label: "Rate", unit: "chains/s", whole: false, most: 1_000_000, value: 40 };
      session.scenarios = { default: { state: "running", workers: 200, rate: 40, rate_unit: "chains", weights: {}, scheduled: true, values: [rate] } };
      snapshot.scenarios = { default: { ...NO_SCENARIO, executor: "constant-arrival-rate", workers: 60, busy: 12, rate: 31.5, due: 400, dropped: 12 } };
    }),
    "live",
  ),
  "drives a fleet": viewOf(changed(busy, ({ snapshot }) => (snapshot.scenarios = { default: { ...NO_SCENARIO, executor: "fleet" } })), "live"),
};

export type RunState = keyof typeof RUNS;
export const RUN_STATES = Object.keys(RUNS) as RunState[];

/** Runs without figures. */
export const NO_RUNS = {
  connecting: viewOf(null, "connecting"),
  "not to be reached": viewOf(null, "lost"),
  missing: viewOf(null, "missing", "there is no run 20261121-095602"),
};
