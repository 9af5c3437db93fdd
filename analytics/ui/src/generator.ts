// Whether the load tester itself kept up: the text on the page and its emphasis.

import { count, duration, share, things } from "./format";
import { LIMIT_CAUSES, type GeneratorFigures, type LimitCause, type Run } from "./wire";

/** Not measured, keeps up, was limited at some time, is limited now. */
export type Standing = "unknown" | "fine" | "was" | "is";

export function standing(generator: GeneratorFigures): Standing {
  if (generator.limited) return generator.limited_now ? "is" : "was";
  return generator.lag_ns.n === 0 ? "unknown" : "fine";
}

/** The causes of a limit, by what a person can change. */
const CAUSES: Record<LimitCause, { is: string; was: string }> = {
  cap: { is: "a cap that you set limits the load", was: "a cap that you set limited the load" },
  machine: {
    is: "other work keeps this machine busy, or has no descriptors, ports or memory left",
    was: "other work kept this machine busy, or had no descriptors, ports or memory left",
  },
  wec: { is: "wec itself is at its limit", was: "wec itself was at its limit" },
};

/** What lag can have added to response times, if lag is among the limits. */
export function distortion({ distortion: found }: GeneratorFigures): string | undefined {
  if (found === null) return undefined;
  const median = `${duration(found.p50_ns)} to half of the response times (${share(found.p50_share)} of their median)`;
  if (found.p99_ns === null || found.p99_share === null) return `Lag can have added ${median}.`;
  return `Lag can have added ${median} and ${duration(found.p99_ns)} to the slowest 1 % (${share(found.p99_share)} of their p99).`;
}

/** One sentence about the effect on the figures. */
export function headline(generator: GeneratorFigures, over: boolean): string {
  const how = standing(generator);
  if (how === "unknown") return "Not known yet whether the load tester keeps up.";
  if (how === "fine") return over ? "The load tester kept up." : "The load tester keeps up.";
  const now = how === "is" && !over;
  const causes = LIMIT_CAUSES.filter((cause) => (now ? generator.causes[cause].limited_now : generator.causes[cause].limited_ns > 0));
  const why = causes.map((cause) => (now ? CAUSES[cause].is : CAUSES[cause].was)).join(", and ");
  if (now) return `Generator-limited: ${why}. Present figures are not the CA’s alone.`;
  return `Generator-limited for ${duration(generator.limited_ns)}: ${why}. The figures are not the CA’s alone.`;
}

export interface Figure {
  id: string;
  label: string;
  value: string;
  title: string;
}

/** The request rate as a share of the machine's measured ceiling; undefined without a calibration. */
export function ceiling(run: Run, rps: number): Figure | undefined {
  const { calibration } = run.stamp;
  if (calibration === undefined || calibration === null || calibration.requests_per_s <= 0) return undefined;
  const kept = calibration.kept_up_chains_per_s;
  const keeps = kept === null ? "" : `, keeps up to ${count(Math.floor(kept))} chains/s`;
  return {
    id: "ceiling",
    label: "of its ceiling",
    value: share(rps / calibration.requests_per_s),
    title:
      `Requests a second over the run, as a share of what wec calibrate reached on this machine: ` +
      `${count(Math.round(calibration.requests_per_s))} requests/s, ${count(Math.round(calibration.chains_per_s))} chains/s${keeps}`,
  };
}

/** The figures by which the load tester is judged. */
export function figures(generator: GeneratorFigures): Figure[] {
  const { lag_ns: lag } = generator;
  const all: (Figure | false)[] = [
    {
      id: "lag",
      label: lag.p99 === null ? "lag, largest" : "lag p99",
      value: duration(lag.p99 ?? lag.max),
      title: `How much later than due something ran, of ${count(lag.n)} times; at most ${duration(lag.max)}`,
    },
    {
      id: "cpu",
      label: "busiest thread",
      value: share(generator.cpu_share ?? generator.cpu_share_max),
      title: `Share of the latest second for which it ran; at most ${share(generator.cpu_share_max)}`,
    },
    {
      id: "wait",
      label: "kept waiting",
      value: share(generator.cpu_wait_share ?? generator.cpu_wait_share_max),
      title: `Share of the latest second for which that thread had no processor; at most ${share(generator.cpu_wait_share_max)}`,
    },
    {
      id: "backlog",
      label: "queue of results",
      value: share(generator.backlog_share),
      title: `How full it is; at most ${share(generator.backlog_share_max)}`,
    },
    generator.due > 0 && {
      id: "dropped",
      label: "dropped",
      value: share(generator.dropped_share),
      title: `${things(generator.dropped, "iteration")} of ${count(generator.due)} that were due had no worker`,
    },
  ];
  return all.filter((figure) => figure !== false);
}
