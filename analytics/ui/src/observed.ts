// Metrics of other programs beside the load, as charts under the time axis of the run. Pure.

import type { Chart, Line } from "./charts";
import { NONE } from "./format";
import type { ObservedFigures, ObservedSeries } from "./wire";

/** Charts that are drawn; the report has all. */
export const MOST = 12;

const ABOUT: Record<ObservedSeries["measure"], string> = { value: "value", rate: "per second", mean: "mean" };

/** One chart a series, in the order of the figures: those that moved most with the response times first. */
export function chartsOf(series: readonly ObservedSeries[], figures: readonly ObservedFigures[]): Chart[] {
  const key = ({ source, name, measure }: Pick<ObservedSeries, "source" | "name" | "measure">) =>
    [source, name, measure].join(" ");
  const known = new Map(series.map((one) => [key(one), one]));
  return figures.slice(0, MOST).flatMap((of) => {
    const one = known.get(key(of));
    return one === undefined ? [] : [chartOf(one, key(one), of.rank_correlation)];
  });
}

/** The line of a series: the last value of each bucket, made once for each width. */
export function lineOf(series: ObservedSeries): Line["y"] {
  let step = 0;
  let values = new Map<number, number>();
  const valuesOf = (width: number) => {
    if (width !== step) {
      step = width;
      values = new Map(
        series.at_unix_ns.map((at, n) => [Math.floor(at / 1e9 / width) * width, series.values[n] ?? 0] as const),
      );
    }
    return values;
  };
  return (columns, index) => valuesOf(columns.step).get(columns.at[index] ?? -1) ?? null;
}

function chartOf(series: ObservedSeries, id: string, moved: number | null): Chart {
  return {
    id,
    title: `${series.source} ${series.name}`,
    unit: ABOUT[series.measure] + (moved === null ? "" : `, rank correlation ${moved.toFixed(2)}`),
    format: short,
    scale: "linear",
    views: [],
    lines: [
      {
        name: ABOUT[series.measure],
        colour: "chains",
        y: lineOf(series),
      },
    ],
  };
}

/** Three digits, and a prefix for large numbers: `61.7 M`. */
export function short(value: number | null): string {
  if (value === null) return NONE;
  const size = Math.abs(value);
  const [over, prefix] = size >= 1e9 ? [1e9, " G"] : size >= 1e6 ? [1e6, " M"] : size >= 1e3 ? [1e3, " k"] : [1, ""];
  const shown = value / over;
  return (Number.isInteger(shown) && Math.abs(shown) < 1000 ? String(shown) : shown.toPrecision(3)) + prefix;
}
