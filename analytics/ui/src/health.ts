// Whether the figures and the log are complete.

import { count, things } from "./format";
import type { Live } from "./wire";

/** What is missing in the figures or the log; empty when every result was counted and logged. */
export function warnings(live: Pick<Live, "health" | "snapshot">): string[] {
  return [...logWarnings(live), ...figureWarnings(live)];
}

/** What the log lacks; the figures may be complete. */
export function logWarnings({ health }: Pick<Live, "health">): string[] {
  const found: (string | false)[] = [
    health.log_error !== null && `${health.log_error}. The figures go on, but the log has no later record`,
    ...health.log_problems.map((problem) => `the log is not complete: ${problem}`),
    health.log_failed > 0 && `${things(health.log_failed, "record")} missing from the log`,
  ];
  return found.filter((warning) => warning !== false);
}

/** What the figures lack. */
export function figureWarnings({ health, snapshot: { missing } }: Pick<Live, "health" | "snapshot">): string[] {
  const found: (string | false)[] = [
    missing.lost_results > 0 &&
      `${things(missing.lost_results, "result")} lost at their sender: the log’s lines “lost” have the reason`,
    health.gaps > 0 && `${things(health.gaps, "record")} numbered by a sender never arrived`,
    health.queued_batches >= health.queue_bound &&
      health.queue_bound > 0 &&
      `analytics is behind: ${count(health.queue_bound)} batches wait, and senders must wait`,
    ...health.listeners.map(
      ({ what, refused, bound }) =>
        refused > 0 && `${what}: ${things(refused, "connection")} refused, all ${count(bound)} places were taken`,
    ),
    ...health.listeners.map(
      ({ what, accept_errors }) =>
        accept_errors > 0 && `${what}: ${things(accept_errors, "connection")} not accepted because resources ran out`,
    ),
    missing.outside_series > 0 && `${things(missing.outside_series, "record")} of a wrong clock, in no chart`,
    missing.clamped_times > 0 && `${things(missing.clamped_times, "time")} above one hour, counted as one hour`,
    missing.unknown_chains > 0 && `${things(missing.unknown_chains, "result")} of an unknown chain, in no chain's figures`,
    missing.unknown_records > 0 && `${things(missing.unknown_records, "record")} with a kind or value that this version does not know, in no figures`,
    missing.other_endpoints > 0 && `${things(missing.other_endpoints, "request")} counted under the endpoint “other”`,
    missing.other_failures > 0 && `${things(missing.other_failures, "failure")} counted under the name “other”`,
    missing.other_scenarios > 0 && `${things(missing.other_scenarios, "scenario")} beyond the first 64, in no figures`,
    missing.dropped_marks > 0 && `${things(missing.dropped_marks, "change")} of the load not marked`,
  ];
  return found.filter((warning) => warning !== false);
}
