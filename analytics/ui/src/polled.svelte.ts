// Data that a view fetches again and again while it is shown.

import { parseError } from "./wire";

/** The latest answer of a path, and why the last attempt failed. */
export class Polled<T> {
  value = $state.raw<T | null>(null);
  problem = $state("");
  #again: () => void = () => undefined;

  constructor(
    private readonly path: string,
    private readonly everyMs: number,
    private readonly fits: (value: unknown) => value is T,
  ) {}

  /** Fetches now and then until the returned function is called. */
  follow(): () => void {
    let timer = 0;
    let closed = false;
    const next = async () => {
      window.clearTimeout(timer);
      await this.#fetch();
      if (!closed) timer = window.setTimeout(() => void next(), this.everyMs);
    };
    this.#again = () => void next();
    void next();
    return () => {
      closed = true;
      window.clearTimeout(timer);
    };
  }

  /** Fetches at once, as after a change. */
  refresh(): void {
    this.#again();
  }

  async #fetch(): Promise<void> {
    try {
      const answer = await fetch(this.path);
      const text = await answer.text();
      if (!answer.ok) {
        this.problem = parseError(text) ?? `analytics answered ${answer.status}`;
        return;
      }
      const value: unknown = JSON.parse(text);
      if (!this.fits(value)) throw new Error("the answer is of another kind");
      this.value = value;
      this.problem = "";
    } catch (error) {
      this.problem = error instanceof TypeError ? "analytics cannot be reached" : String(error);
    }
  }
}
