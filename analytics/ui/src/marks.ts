// Changes of the load as text. Pure.

import type { Mark } from "./wire";

const BY: Record<string, string> = {
  page: "a page",
  cli: "a command line",
  schedule: "its stages",
  api: "a program",
  threshold: "a threshold",
  capacity: "a capacity search",
  signal: "a signal",
  generator: "the load generator",
  hook: "a hook",
};

/** Who made the change, in words. */
export function who(mark: Mark): string {
  const by = BY[mark.by] ?? mark.by;
  return mark.who ? `${mark.who}, by ${by}` : by;
}

/** The text above a chart. */
export function brieflySaid(mark: Mark): string {
  switch (mark.what) {
    case "workers":
      return `${mark.from} → ${mark.to}`;
    case "rate":
      return `${mark.from}/s → ${mark.to}/s`;
    case "state":
      return mark.to === "running" ? "resumed" : mark.to;
    case "generator":
      return `generator ${mark.to}`;
    case "answers":
      return mark.from === "none" ? "answers again" : "no answers";
    case "gap":
      return "gap";
    default:
      return mark.what;
  }
}

/** The change without its author: `workers 50 → 80`, `weight of revoke 1 → 0`. */
export function said(mark: Mark): string {
  const of = mark.scenario === undefined || mark.scenario === "" || mark.scenario === "default" ? "" : `${mark.scenario}: `;
  if (mark.what === "gap") return `${of}${mark.to}`;
  const noun = { weights: "weight of ", limits: "limit of " }[mark.what];
  if (noun === undefined) {
    const unit = mark.what === "rate" ? "/s" : "";
    return `${of}${mark.what} ${mark.from}${unit} → ${mark.to}${unit}`;
  }
  const before = new Map(pairs(mark.from));
  return of + pairs(mark.to).map(([key, to]) => `${noun}${key} ${before.get(key) ?? "unset"} → ${to}`).join(", ");
}

function pairs(text: string): [string, string][] {
  return text
    .split(", ")
    .map((pair) => pair.split("="))
    .filter((pair): pair is [string, string] => pair.length === 2);
}

/** The changes within `within` seconds of a time; seconds since the Unix epoch. */
export function around(marks: readonly Mark[], unixSeconds: number, within: number): Mark[] {
  return marks.filter((mark) => Math.abs(mark.at_unix_ns / 1e9 - unixSeconds) <= within);
}

/** Changes that are so near to each other that a chart shows them as one. */
export interface Bundle {
  /** The first one's time, seconds since the Unix epoch. */
  at: number;
  marks: Mark[];
}

/** Bundles changes that are less than `within` seconds after the first one of their bundle. */
export function bundles(marks: readonly Mark[], within: number): Bundle[] {
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
export function limitedSpans(marks: readonly Mark[], until: number): [number, number][] {
  const spans: [number, number][] = [];
  let since: number | null = null;
  for (const mark of marks) {
    if (mark.what !== "generator") continue;
    const at = mark.at_unix_ns / 1e9;
    if (mark.to.startsWith("limited")) since ??= at;
    else if (since !== null) {
      spans.push([since, at]);
      since = null;
    }
  }
  if (since !== null && until > since) spans.push([since, until]);
  return spans;
}
