// Actual and target load of a scenario, as text. Pure.

import { count, duration, rate, share, things } from "./format";
import type { ScenarioFigures, ScenarioView } from "./wire";

/** The current load, as `now 49.8 of 50 chains/s with 12 workers, 9 busy`, or why there is none. */
export function achieved(figures: ScenarioFigures, target: ScenarioView): string {
  if (target.state === "waiting") return "waits for another scenario to end";
  if (target.state === "ended") {
    return `ended: no more iterations of it start${figures.busy > 0 ? `, ${count(figures.busy)} finishing` : ""}`;
  }
  const backingOff = figures.backing_off > 0 ? `, ${count(figures.backing_off)} backing off after failures` : "";
  const workers = `${things(figures.workers, "worker")}, ${count(figures.busy)} busy${backingOff}`;
  if (target.rate === null) return `now ${workers}`;
  const reached = figures.reach === "reached" ? " (reached)" : figures.reach === "approaching" ? " (approaching)" : "";
  return `now ${rate(figures.rate)} of ${target.rate} ${target.rate_unit}/s${reached} with ${workers}`;
}

/** Warnings: dropped iterations, and a rate that is not reached, with the reason. */
export function alarms(figures: ScenarioFigures, target: ScenarioView): string[] {
  const short = (ns: number) => (ns > 0 ? ` For ${duration(ns)} so far.` : "");
  const found: (string | false)[] = [
    figures.dropped > 0 &&
      `Dropped: ${things(figures.dropped, "iteration")} of ${count(figures.due)} that were due (${share(figures.dropped / Math.max(1, figures.due))}), because all ${things(target.workers, "worker")} were busy.`,
    figures.reach === "saturated" &&
      `Saturated: more workers do not increase the rate, this is the CA's limit.${short(figures.saturated_ns)}`,
    figures.reach === "capped" &&
      `Capped: ${things(target.workers, "worker")} at most are too few for this rate at the CA’s response time.${short(figures.capped_ns)}`,
  ];
  return found.filter((alarm) => alarm !== false);
}
