// The list of runs: fetched repeatedly while it is shown, with the text for each run.

import { parseError, parseRuns, type RunEntry } from "./wire";

export type Standing = "live" | "passed" | "failed" | "undecided" | "unread";

/** The state of a run, or its verdict. */
export function standing({ live, outcome }: Pick<RunEntry, "live" | "outcome">): Standing {
  if (live) return "live";
  if (outcome === null) return "unread";
  if (outcome.passed === null) return "undecided";
  return outcome.passed ? "passed" : "failed";
}

/** Words and signs, so that the state does not depend on colour. */
export const SAID: Record<Standing, { sign: string; word: string; title: string }> = {
  live: { sign: "", word: "live", title: "The run sends results" },
  passed: { sign: "✓", word: "passed", title: "All thresholds hold, and every chain of the plan succeeded" },
  failed: { sign: "✗", word: "failed", title: "A threshold does not hold, or a chain of the plan never succeeded" },
  undecided: { sign: "–", word: "no verdict", title: "The run was interrupted" },
  unread: { sign: "", word: "not read", title: "Its log has not been read yet: open the run" },
};

export interface Listing {
  /** The latest list; null before the first. */
  runs: readonly RunEntry[] | null;
  /** Why the latest attempt failed; empty when it succeeded. */
  problem: string;
}

/** The browser's functions that a list uses; tests replace them. */
export interface Ground {
  fetch(url: string): Promise<Response>;
  later(run: () => void, ms: number): number;
  cancel(timer: number): void;
}

const BROWSER: Ground = {
  fetch: (url) => fetch(url),
  later: (run, ms) => window.setTimeout(run, ms),
  cancel: (timer) => window.clearTimeout(timer),
};

const PERIOD_MS = 5_000;

/** Fetches the list now and every few seconds, until it is closed. */
export class RunList {
  #listing: Listing = { runs: null, problem: "" };
  #timer = 0;
  #closed = false;

  constructor(
    private readonly changed: (listing: Listing) => void,
    private readonly ground: Ground = BROWSER,
  ) {
    void this.#fetch();
  }

  /** Fetches the list at once, as after a change. */
  refresh(): void {
    this.ground.cancel(this.#timer);
    void this.#fetch();
  }

  close(): void {
    this.#closed = true;
    this.ground.cancel(this.#timer);
  }

  async #fetch(): Promise<void> {
    this.#listing = await this.#next();
    if (this.#closed) return;
    this.changed(this.#listing);
    this.#timer = this.ground.later(() => void this.#fetch(), PERIOD_MS);
  }

  async #next(): Promise<Listing> {
    const without = (problem: string) => ({ ...this.#listing, problem });
    try {
      const response = await this.ground.fetch("api/v1/runs");
      const text = await response.text();
      if (response.status === 401) return without("analytics requires a token: reload this page to log in");
      if (!response.ok) return without(parseError(text) ?? `analytics answered ${response.status}`);
      const runs = parseRuns(text);
      return runs === undefined ? without("analytics sent something that is not a list of runs") : { runs, problem: "" };
    } catch {
      return without("analytics cannot be reached");
    }
  }
}
