// The clock of a replayed run, as the page shows it. Pure.

import type { Phase } from "./live";
import { span } from "./format";
import type { ReplayView } from "./wire";

/** Speeds to choose from, seconds of the run in one second. */
export const SPEEDS: readonly number[] = [1, 2, 5, 10, 30, 60, 100, 300, 1000];

/** The speeds to choose from, with the replay's present one. */
export function speeds(now: number): number[] {
  return SPEEDS.includes(now) ? [...SPEEDS] : [...SPEEDS, now].sort((a, b) => a - b);
}

/** The phase of what is shown: at the end of a replay the figures are final, although the stream continues. */
export function phaseOf(phase: Phase, replay: ReplayView | null): Phase {
  return phase === "live" && replay?.state === "ended" ? "ended" : phase;
}

/** The state of a replay as text. */
export function doing({ state, seeking, speed }: ReplayView): string {
  if (seeking) return "reading the log";
  if (state === "ended") return "at the end";
  return state === "playing" ? `playing ×${speed}` : "paused";
}

/** A position as text: `1:05 of 3:20`. */
export function place(positionNs: number, lengthNs: number): string {
  return `${span(positionNs)} of ${span(lengthNs)}`;
}

/** How many steps a slider over a run has: of a second each, or 200 where the run is short. */
export function stepsOf(lengthNs: number): number {
  return Math.max(200, Math.ceil(lengthNs / 1e9));
}

/** The position of a step, whole nanoseconds; the last step is the end of the run. */
export function positionOf(step: number, lengthNs: number): number {
  return Math.round((step / stepsOf(lengthNs)) * lengthNs);
}

/** The step of a position. */
export function stepOf(positionNs: number, lengthNs: number): number {
  return lengthNs === 0 ? 0 : Math.round((positionNs / lengthNs) * stepsOf(lengthNs));
}
