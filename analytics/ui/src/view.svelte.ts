// What is shown of one run: its latest figures, its columns over time, and the chosen part of it.

import { untrack } from "svelte";

import { pathOf, type Period } from "./address";
import { Subscription, type Phase } from "./live";
import { axisOf, chosen, partOf, zoomed, type RunTimes } from "./period";
import { phaseOf } from "./replay";
import { rights } from "./rights.svelte";
import { router } from "./router.svelte";
import { between, merge, recent, stretch, type Columns } from "./series";
import { parseError, type Live, type WindowView } from "./wire";

/** The period of the figures in the header, seconds. */
const LATELY_S = 5;

/** The figures of a part of the run. */
interface Part {
  view: WindowView;
  columns: Columns;
}

export class RunView {
  live = $state.raw<Live | null>(null);
  columns = $state.raw<Columns | null>(null);
  /** The phase of the connection. */
  connection = $state<Phase>("connecting");
  why = $state("");
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
  /** The part whose figures are wanted, as text; empty for the whole run. */
  readonly #wanted = $derived.by(() => {
    const part = this.live === null || this.replay !== null ? null : partOf(this.period, this.times);
    return part === null ? "" : `from_ns=${part.from_ns}&to_ns=${part.to_ns}`;
  });
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
        rights.steer = next.may_steer;
      },
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
    void (async () => {
      try {
        const answer = await fetch(`${pathOf(run)}/window?${wanted}`, { signal: stop.signal });
        const text = await answer.text();
        if (!answer.ok) {
          this.part = null;
          this.partProblem = parseError(text) ?? `analytics answered ${answer.status}`;
          return;
        }
        const view = JSON.parse(text) as WindowView;
        this.part = { view, columns: merge(null, { ...view.series, reset: true }) };
      } catch {
        if (stop.signal.aborted) return;
        this.part = null;
        this.partProblem = "analytics cannot be reached";
      }
    })();
    return () => stop.abort();
  }

  /** The path of the distribution of a row, in the chosen part. */
  distribution(row: string, service: boolean): string {
    const part = this.part === null ? "" : `&${this.#wanted}`;
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
