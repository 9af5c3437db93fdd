// The page's one subscription: Server-Sent Events of a run, kept up until the run ends.

import { parseError, parseLive, parseReading, type Live, type ReadingView } from "./wire";

/**
 * | phase | means | leaves to |
 * | --- | --- | --- |
 * | connecting | no figures have come yet; the log of the run may be read for them | live, lost |
 * | live | events come | lost, ended |
 * | lost | the stream broke or sent nothing for too long; it is retried | live, ended |
 * | ended | the run is over, the figures are final | connecting, on request |
 * | missing | there is no such run | connecting, on request |
 */
export type Phase = "connecting" | "live" | "lost" | "ended" | "missing";

export interface Listener {
  /** New figures to show. */
  live(live: Live): void;
  /** How far the log is read before there are figures. */
  reading(reading: ReadingView): void;
  /** The phase, or the reason for `lost`, has changed. */
  phase(phase: Phase, why: string): void;
}

/** The browser's functions that a subscription uses; tests replace them. */
export interface Ground {
  open(url: string): EventSource;
  fetch(url: string): Promise<Response>;
  later(run: () => void, ms: number): number;
  cancel(timer: number): void;
}

/** Events come every second; after this time without one the connection counts as lost. */
const SILENCE_MS = 5_000;
/** Waits between attempts once the browser no longer retries. */
const WAITS_MS = [500, 1_000, 2_000, 5_000];

const BROWSER: Ground = {
  open: (url) => new EventSource(url),
  fetch: (url) => fetch(url),
  later: (run, ms) => window.setTimeout(run, ms),
  cancel: (timer) => window.clearTimeout(timer),
};

export class Subscription {
  #source: EventSource | null = null;
  #timer = 0;
  #attempts = 0;
  #phase: Phase = "connecting";
  /** Whether figures have come. */
  #shown = false;

  /** `run` is the path of a run in the API. */
  constructor(
    private readonly run: string,
    private readonly listener: Listener,
    private readonly ground: Ground = BROWSER,
  ) {
    this.#open();
  }

  /** Connects at once instead of after the wait, also after the end. */
  retry(): void {
    if (this.#phase === "ended" || this.#phase === "missing") this.#enter("connecting", "");
    this.#open();
  }

  close(): void {
    this.ground.cancel(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #open(): void {
    this.close();
    const source = this.ground.open(`${this.run}/live`);
    this.#source = source;
    this.#watch();
    source.addEventListener("live", (event) => this.#take(event, "live"));
    source.addEventListener("end", (event) => this.#take(event, "ended"));
    source.addEventListener("reading", (event: MessageEvent<string>) => this.#read(event.data));
    source.addEventListener("refused", (event: MessageEvent<string>) => {
      this.close();
      this.#enter("lost", parseError(event.data) ?? "");
      this.#again();
    });
    source.addEventListener("error", () => {
      if (this.#source !== source) return;
      this.#enter("lost", "");
      // While the browser reconnects it keeps the id of the last event. An answer that is not a stream ends this.
      if (source.readyState === 2) {
        void this.#explain();
        this.#again();
      }
    });
  }

  #take(event: MessageEvent<string>, phase: "live" | "ended"): void {
    let live: Live;
    try {
      live = parseLive(event.data);
    } catch (error) {
      this.#enter("lost", error instanceof Error ? error.message : String(error));
      return;
    }
    this.#attempts = 0;
    this.#shown = true;
    this.listener.live(live);
    this.#enter(phase, "");
    if (phase === "ended") this.close();
    else this.#watch();
  }

  #read(text: string): void {
    const reading = parseReading(text);
    if (reading === undefined) return;
    this.#attempts = 0;
    this.listener.reading(reading);
    this.#enter("connecting", "");
    this.#watch();
  }

  #watch(): void {
    this.ground.cancel(this.#timer);
    this.#timer = this.ground.later(() => {
      this.#enter("lost", "");
      this.#open();
    }, SILENCE_MS);
  }

  #again(): void {
    this.ground.cancel(this.#timer);
    const wait = WAITS_MS[Math.min(this.#attempts, WAITS_MS.length - 1)] ?? SILENCE_MS;
    this.#attempts += 1;
    this.#timer = this.ground.later(() => this.#open(), wait);
  }

  /** An EventSource does not report why it was refused, so a plain request to the same API finds the reason. */
  async #explain(): Promise<void> {
    try {
      const response = await this.ground.fetch(`${this.run}/snapshot`);
      if (this.#phase !== "lost") return;
      if (response.status === 401) {
        this.#enter("lost", "analytics requires a token: reload this page to log in");
      } else if (response.status === 404 && !this.#shown) {
        this.close();
        this.#enter("missing", parseError(await response.text()) ?? "there is no such run");
      } else if (!response.ok) {
        this.#enter("lost", parseError(await response.text()) ?? `analytics answered ${response.status}`);
      }
    } catch {
      // Analytics cannot be reached, which "lost" already says.
    }
  }

  #enter(phase: Phase, why: string): void {
    this.#phase = phase;
    this.listener.phase(phase, why);
  }
}
