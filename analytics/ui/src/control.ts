// Changes of a running run: one request at a time for each value; the latest change wins.

import { parseError, parseMistakes, type ScenarioPatch, type SessionChanged, type SessionPatch } from "./wire";

/** The API's bound of a weight, as in docs/openapi.json. Those of numbers come with their values. */
export const MOST_WEIGHT = 1_000_000;

export interface Wish<T> {
  /** The requested value that is not on the board yet; undefined when nothing is pending. */
  wanted: T | undefined;
  /** Why the latest change failed; empty when it succeeded. */
  problem: string;
}

/** A value that can be changed: `put` makes the change and returns an error or nothing. */
export class Asking<T> {
  #wanted: T | undefined;
  #problem = "";
  #busy = false;

  constructor(
    private readonly changed: (wish: Wish<T>) => void,
    private readonly put: (value: T) => Promise<string>,
  ) {}

  /** Requests a value. Of several requests before the answer, only the last is sent. */
  async ask(value: T): Promise<void> {
    this.#wanted = value;
    this.#problem = "";
    this.#tell();
    if (this.#busy) return;
    this.#busy = true;
    let sent: T | undefined;
    while (this.#wanted !== undefined && this.#wanted !== sent) {
      sent = this.#wanted;
      const problem = await this.put(sent);
      if (problem !== "" && this.#wanted === sent) {
        this.#wanted = undefined;
        this.#problem = problem;
      }
    }
    this.#wanted = undefined;
    this.#busy = false;
    this.#tell();
  }

  #tell(): void {
    this.changed({ wanted: this.#wanted, problem: this.#problem });
  }
}

type Send = (url: string, init: RequestInit) => Promise<Response>;

/** Changes the whole session: `state`, `limits`. Returns an error, what its plan cannot have, or nothing. */
export function changeSession(id: string, body: SessionPatch, send?: Send): Promise<string> {
  return patch(`api/v1/sessions/${encodeURIComponent(id)}`, body, send);
}

/** Changes a scenario of a session: `workers`, `rate`, `weights`. Returns an error, what its plan cannot have, or nothing. */
export function changeScenario(id: string, name: string, body: ScenarioPatch, send?: Send): Promise<string> {
  return patch(`api/v1/sessions/${encodeURIComponent(id)}/scenarios/${encodeURIComponent(name)}`, body, send);
}

/** Changes the replay: `playing`, `speed`, `position_ns`. Returns an error or nothing. */
export function changeReplay(body: object, send?: Send): Promise<string> {
  return patch("api/v1/replay", body, send);
}

async function patch(url: string, body: object, send?: Send): Promise<string> {
  const { answer, problem } = await ask("PATCH", url, body, send);
  const { not_in_plan: missing = [] } = (answer ?? {}) as Partial<SessionChanged>;
  return missing.length === 0 ? problem : `in force, but not in the session’s plan, so its next run begins without it: ${missing.join("; ")}`;
}

/** What became of a request: its answer, or an error with all mistakes. */
export interface Asked {
  answer: unknown;
  /** Empty when it succeeded. */
  problem: string;
  mistakes: string[];
}

/** Sends a request that changes something. */
export async function ask(method: "POST" | "PUT" | "PATCH" | "DELETE", url: string, body?: object, send: Send = (url, init) => fetch(url, init)): Promise<Asked> {
  const failed = (problem: string, mistakes: string[] = []) => ({ answer: null, problem, mistakes });
  try {
    const response = await send(url, {
      method,
      headers: { "Content-Type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (response.ok) return { answer: text === "" ? null : (JSON.parse(text) as unknown), problem: "", mistakes: [] };
    if (response.status === 401) return failed("analytics requires a token: reload this page to log in");
    return failed(parseError(text) ?? `analytics answered ${response.status}; nothing was changed`, parseMistakes(text));
  } catch {
    return failed("analytics could not be reached; nothing was changed");
  }
}

/** Steps of the quick buttons, small and large, for a number of workers or a rate: 1 and 10 for 50, 100 and 1000 for 5000. */
export function steps(value: number): [number, number] {
  const small = Math.max(1, 10 ** (Math.floor(Math.log10(Math.max(1, value))) - 1));
  return [small, small * 10];
}

/** The entries that differ from the current ones; undefined stands for an unchanged field. */
export function differing<T>(now: Record<string, T>, typed: Record<string, T | undefined>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(typed).filter((entry): entry is [string, T] => entry[1] !== undefined && entry[1] !== now[entry[0]]),
  );
}
