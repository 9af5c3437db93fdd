// Changes of the load as text. Pure.

import { count } from "./format";
import type { KnownMarkBy, MarkValue, MarkView } from "./wire";

/** In words who makes changes, and whether a person or a program outside the load tester does. A new author must be added here. */
const AUTHORS: Record<KnownMarkBy, { words: string; outside: boolean }> = {
  page: { words: "a page", outside: true },
  cli: { words: "a command line", outside: true },
  schedule: { words: "its stages", outside: false },
  api: { words: "a program", outside: true },
  threshold: { words: "a threshold", outside: true },
  capacity: { words: "a capacity search", outside: true },
  signal: { words: "a signal", outside: true },
  generator: { words: "the load generator", outside: false },
  hook: { words: "a hook", outside: true },
};

/** The words of a value, or none for a value of a later version. */
function known<K extends string, T>(words: Record<K, T>, value: string): T | undefined {
  return Object.hasOwn(words, value) ? words[value as K] : undefined;
}

/** Who made the change, in words. */
export function who(mark: MarkView): string {
  const by = known(AUTHORS, mark.by)?.words ?? mark.by;
  return mark.who ? `${mark.who}, by ${by}` : by;
}

/** Whether neither the stages nor the load tester itself made the change. */
export function fromOutside(mark: MarkView): boolean {
  return known(AUTHORS, mark.by)?.outside ?? true;
}

/** The text above a chart. */
export function brieflySaid(mark: MarkView): string {
  const { before, after } = mark;
  switch (after.kind) {
    case "workers":
    case "rate":
      return `${shown(before)} → ${shown(after)}`;
    case "state":
      return after.value === "running" ? "resumed" : after.value;
    case "generator":
      return `generator ${shown(after)}`;
    case "answers":
      return after.value.state === "come" ? "answers again" : "no answers";
    case "weights":
    case "limits":
    case "warm-up":
    case "gap":
    case "text":
      return mark.what;
  }
}

/** The change without its author: `workers 50 → 80`, `weight of revoke 1 → 0`. */
export function said(mark: MarkView): string {
  const { before, after } = mark;
  const of = mark.scenario === "" || mark.scenario === "default" ? "" : `${mark.scenario}: `;
  switch (after.kind) {
    case "weights": {
      const old = new Map(before.kind === "weights" ? before.value.map(({ chain, weight }) => [chain, weight]) : []);
      return of + after.value.map(({ chain, weight }) => `weight of ${chain} ${step(old.get(chain), weight, "unset")}`).join(", ");
    }
    case "limits": {
      const old = new Map(before.kind === "limits" ? before.value.map(({ objects, limit }) => [objects, limit]) : []);
      return of + after.value.map(({ objects, limit }) => `limit of ${objects} ${step(old.get(objects), limit, "none", count)}`).join(", ");
    }
    case "gap":
      return of + shown(after);
    case "text":
      // An event or a note has no value before it.
      if (shown(before) === "") return `${of}${mark.what}: ${after.value}`;
      return `${of}${mark.what} ${shown(before)} → ${after.value}`;
    case "workers":
    case "rate":
    case "state":
    case "generator":
    case "answers":
    case "warm-up":
      return `${of}${mark.what} ${shown(before)} → ${shown(after)}`;
  }
}

/** A number before and after; one that the list of values lacks, because it was too long, is left out. */
function step(before: number | null | undefined, after: number | null, none: string, text: (value: number) => string = String): string {
  const words = (value: number | null) => (value === null ? none : text(value));
  const from = before === undefined ? "" : `${words(before)} `;
  return `${from}→ ${words(after)}`;
}

/** A value in words, with its unit. */
function shown(value: MarkValue): string {
  switch (value.kind) {
    case "workers":
      return count(value.value);
    case "rate":
      return `${value.value}/s`;
    case "weights":
      return value.value.map(({ chain, weight }) => `${chain} ${weight ?? "unset"}`).join(", ");
    case "limits":
      return value.value.map(({ objects, limit }) => `${objects} ${limit === null ? "none" : count(limit)}`).join(", ");
    case "state":
    case "warm-up":
    case "text":
      return value.value;
    case "generator":
      if (value.value.state === "keeps-up") return "keeps up";
      return value.value.by.length === 0 ? "limited" : `limited by ${value.value.by.join(", ")}`;
    case "answers":
      return answers(value.value);
    case "gap": {
      const { missing, required, unit, seconds } = value.value;
      return `${missing} of ${required} ${unit} missing for ${seconds} s`;
    }
  }
}

function answers(value: Extract<MarkValue, { kind: "answers" }>["value"]): string {
  switch (value.state) {
    case "come":
    case "none":
      return value.state;
    case "none-for":
      return `none for ${value.seconds} s, ${value.in_flight} requests in flight`;
  }
}

/** The changes within `within` seconds of a time; seconds since the Unix epoch. */
export function around(marks: readonly MarkView[], unixSeconds: number, within: number): MarkView[] {
  return marks.filter((mark) => Math.abs(mark.at_unix_ns / 1e9 - unixSeconds) <= within);
}

/** Changes that are so near to each other that a chart shows them as one. */
export interface Bundle {
  /** The first one's time, seconds since the Unix epoch. */
  at: number;
  marks: MarkView[];
}

/** Bundles changes that are less than `within` seconds after the first one of their bundle. */
export function bundles(marks: readonly MarkView[], within: number): Bundle[] {
  const found: Bundle[] = [];
  for (const mark of [...marks].sort((a, b) => a.at_unix_ns - b.at_unix_ns)) {
    const at = mark.at_unix_ns / 1e9;
    const last = found.at(-1);
    if (last !== undefined && at - last.at < within) last.marks.push(mark);
    else found.push({ at, marks: [mark] });
  }
  return found;
}

/** The text of a bundle above a chart: `50 → 80`, or `50 → 80 +2`. */
export function bundleSaid({ marks }: Bundle): string {
  const [first] = marks;
  if (first === undefined) return "";
  return marks.length === 1 ? brieflySaid(first) : `${brieflySaid(first)} +${marks.length - 1}`;
}

/** The warm-up of a run, whose results are in no figure, seconds since the Unix epoch. */
export function warmUpSpan(run: { started_unix_ns: number; warm_up_ns?: number }): [number, number][] {
  const warm_up_ns = run.warm_up_ns ?? 0;
  return warm_up_ns > 0 ? [[run.started_unix_ns / 1e9, (run.started_unix_ns + warm_up_ns) / 1e9]] : [];
}

/** The parts of time, seconds since the Unix epoch, in which the load tester was the limit; the last may be open. */
export function limitedSpans(marks: readonly MarkView[], until: number): [number, number][] {
  const spans: [number, number][] = [];
  let since: number | null = null;
  for (const mark of marks) {
    if (mark.after.kind !== "generator") continue;
    const at = mark.at_unix_ns / 1e9;
    if (mark.after.value.state === "limited") since ??= at;
    else if (since !== null) {
      spans.push([since, at]);
      since = null;
    }
  }
  if (since !== null && until > since) spans.push([since, until]);
  return spans;
}
