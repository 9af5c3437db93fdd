// Changing the number of workers: one request at a time, the latest wish wins.

import { parseError } from "./wire";

/** The API's bound. */
export const MOST_WORKERS = 1_000_000;

export interface Wish {
  /** What was asked for and is not yet on the board; null when nothing is pending. */
  wanted: number | null;
  /** Why the latest change did not go through; empty when it did. */
  problem: string;
}

export class WorkersControl {
  #wanted: number | null = null;
  #problem = "";
  #busy = false;

  constructor(
    private readonly changed: (wish: Wish) => void,
    private readonly send: (url: string, init: RequestInit) => Promise<Response> = (url, init) => fetch(url, init),
  ) {}

  /** Asks for so many workers. Asked again before the answer, only the last number is sent after it. */
  async ask(workers: number): Promise<void> {
    this.#wanted = clamp(workers);
    this.#problem = "";
    this.#tell();
    if (this.#busy) return;
    this.#busy = true;
    let sent: number | null = null;
    while (this.#wanted !== null && this.#wanted !== sent) {
      sent = this.#wanted;
      const problem = await this.#put(sent);
      if (problem !== "" && this.#wanted === sent) {
        this.#wanted = null;
        this.#problem = problem;
      }
    }
    this.#wanted = null;
    this.#busy = false;
    this.#tell();
  }

  async #put(workers: number): Promise<string> {
    try {
      const response = await this.send("api/v1/session/workers", {
        method: "PUT",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ workers }),
      });
      if (response.ok) return "";
      return parseError(await response.text()) ?? `analytics answered ${response.status}`;
    } catch {
      return "analytics could not be reached; the number was not changed";
    }
  }

  #tell(): void {
    this.changed({ wanted: this.#wanted, problem: this.#problem });
  }
}

/** Steps of the quick buttons, small and large, that suit a number of workers: 1 and 10 for 50, 100 and 1000 for 5000. */
export function steps(workers: number): [number, number] {
  const small = Math.max(1, 10 ** (Math.floor(Math.log10(Math.max(1, workers))) - 1));
  return [small, small * 10];
}

/** Within what the API takes. */
export function clamp(workers: number): number {
  return Math.min(MOST_WORKERS, Math.max(0, Math.round(workers)));
}
