// What is shown of one run: its latest figures, its columns over time, and the chosen part of it.

import { untrack } from "svelte";

import { pathOf, type Period } from "./address";
import { Subscription, type Phase } from "./live";
import { axisOf, chosen, partOf, ROLLING_MS, rolls, zoomed, type RunTimes } from "./period";
import { phaseOf } from "./replay";
import { rights } from "./rights.svelte";
import { router } from "./router.svelte";
import { between, merge, recent, stretch, type Columns } from "./series";
import { parseError, type Live, type ReadingView, type WindowView } from "./wire";

/** The period of the figures in the header, seconds. */
const LATELY_S = 5;

/** The figures of a part of the run. */
interface Part {
  view: WindowView;
  /** Null while the part moves with the run: then the charts have the columns of the run. */
  columns: Columns | null;
  /** What was asked for. */
  query: string;
  /** Its end, seconds since the Unix epoch. */
  until: number;
}

export class RunView {
  live = $state.raw<Live | null>(null);
  columns = $state.raw<Columns | null>(null);
  /** The phase of the connection. */
  connection = $state<Phase>("connecting");
  why = $state("");
  /** How far the log is read before there are figures. */
  reading = $state.raw<ReadingView | null>(null);
  /** The wall time under the pointer in any chart. */
  pointed = $state<number | null>(null);
  part = $state.raw<Part | null>(null);
  /** Why the figures of the chosen part are not here; empty while they are, or are being read. */
  partProblem = $state("");
  #subscription: Subscription | null = null;
  /** The periods from which parts were chosen. */
  readonly #before: (Period | null)[] = [];

  constructor(readonly run: string) {}

  readonly replay = $derived(this.live?.replay ?? null);
  /** The phase of the shown run or replay. */
  readonly phase = $derived(phaseOf(this.connection, this.replay));
  readonly times = $derived.by((): RunTimes => {
    const { live, phase } = this;
    if (live === null) return { started: 0, until: 0, ended: false };
    const ended = phase === "ended";
    const until = ended ? live.snapshot.at_unix_ns / 1e9 : live.now_unix_ns / 1e9 - 1;
    const { started_unix_ns } = live.snapshot.run;
    // Analytics may run before there is a run.
    return { started: started_unix_ns === 0 ? until : started_unix_ns / 1e9, until, ended };
  });
  readonly period = $derived(chosen(router.place.period, this.times));
  readonly axis = $derived(axisOf(this.period, this.times));
  /**
   * The part whose figures are wanted, as text: the latest seconds of a run that goes on as their number, which does not
   * change each second. Empty for the whole run, and where nobody has chosen a period.
   */
  readonly #wanted = $derived.by(() => {
    const { period } = router.place;
    if (this.live === null || this.replay !== null || period === null) return "";
    return rolls(period, this.times) && "last" in period ? String(period.last) : this.#query(period);
  });
  /** Whether a part is chosen whose figures have not come yet. */
  readonly awaited = $derived(this.#wanted !== "" && this.part === null);
  /** The figures of the chosen part, or of the whole run. */
  readonly snapshot = $derived(this.part?.view.snapshot ?? this.live?.snapshot ?? null);
  readonly drawn = $derived(this.part?.columns ?? this.columns);
  readonly shown = $derived.by(() => {
    const { drawn, period, axis, times } = this;
    if (drawn === null) return { from: 0, to: 0 };
    return "from" in period ? between(drawn, ...axis) : stretch(drawn, times.until, period.last);
  });
  readonly lately = $derived(this.columns === null ? null : recent(this.columns, stretch(this.columns, this.times.until, LATELY_S)));

  /** Follows the run until the returned function is called. */
  follow(): () => void {
    this.#subscription = new Subscription(pathOf(this.run), {
      live: (next) => {
        this.columns = merge(this.columns, next.series);
        this.live = next;
        this.reading = null;
        rights.steer = next.may_steer;
      },
      reading: (next) => (this.reading = next),
      phase: (next, reason) => {
        this.connection = next;
        this.why = reason;
      },
    });
    return () => this.#subscription?.close();
  }

  retry(): void {
    this.#subscription?.retry();
  }

  /** A period as the API's query for its figures; empty for the whole run. */
  #query(period: Period): string {
    const part = partOf(period, this.times);
    return part === null ? "" : `from_ns=${part.from_ns}&to_ns=${part.to_ns}`;
  }

  /** Fetches the figures of the chosen part. Reads what it depends on, so that an effect runs it again. */
  fetchPart(): (() => void) | undefined {
    const wanted = this.#wanted;
    this.partProblem = "";
    if (wanted === "") {
      this.part = null;
      return undefined;
    }
    // `current` may be another run by the time of the answer.
    const run = untrack(() => this.live?.snapshot.run.id) || this.run;
    const stop = new AbortController();
    let timer = 0;
    const next = async () => {
      const { rolling, query } = untrack(() => ({ rolling: rolls(this.period, this.times), query: this.#query(this.period) }));
      await this.#fetch(run, query, rolling, stop.signal);
      if (rolling && !stop.signal.aborted) timer = window.setTimeout(() => void next(), ROLLING_MS);
    };
    void next();
    return () => {
      stop.abort();
      window.clearTimeout(timer);
    };
  }

  async #fetch(run: string, query: string, rolling: boolean, signal: AbortSignal): Promise<void> {
    try {
      const answer = await fetch(`${pathOf(run)}/window?${query}`, { signal });
      const text = await answer.text();
      if (!answer.ok) throw new Error(parseError(text) ?? `analytics answered ${answer.status}`);
      const view = JSON.parse(text) as WindowView;
      const columns = rolling ? null : merge(null, { ...view.series, reset: true });
      this.part = { view, columns, query, until: this.times.started + view.to_ns / 1e9 };
      this.partProblem = "";
    } catch (error) {
      if (signal.aborted) return;
      this.part = null;
      this.partProblem = error instanceof TypeError ? "analytics cannot be reached" : error instanceof Error ? error.message : String(error);
    }
  }

  /** The path of the distribution of a row, in the chosen part. */
  distribution(row: string, service: boolean): string {
    const part = this.part === null ? "" : `&${this.part.query}`;
    // Of a part, `current` may be another run by the time of the answer.
    const run = untrack(() => this.live?.snapshot.run.id) || this.run;
    return `${pathOf(run)}/distribution?row=${encodeURIComponent(row)}&service=${service}${part}`;
  }

  zoom(from: number, to: number): void {
    const period = zoomed(from, to, this.times);
    if (period === null) return;
    this.#before.push(router.place.period);
    router.go({ period });
  }

  /** Back to the period before the last part. */
  unzoom(): void {
    const period = this.#before.pop() ?? null;
    if (router.place.period !== period) router.go({ period });
  }
}
