// What uPlot needs to draw a chart: its options, and what is drawn beside the lines.

import uPlot from "uplot";

import type { Chart, Line } from "./charts";
import { brief, clock } from "./format";
import { bundleSaid, type Bundle } from "./marks";
import { linearRange, logRange, logTicks } from "./scale";
import { colourOf } from "./theme";
import type { LimitLine } from "./thresholds";

export const HEIGHT = 168;

/** What may change between two drawings. */
export interface Surroundings {
  axis: [number, number];
  bundles: readonly Bundle[];
  /** Parts of time in which the load tester was the limit. */
  limited: readonly [number, number][];
  limits: readonly LimitLine[];
}

export interface Reactions {
  /** The pointer is at this index and at this distance from the left, CSS pixels; -1 outside. */
  point: (plot: uPlot) => void;
  /** A part of the axis was dragged, seconds since the Unix epoch. */
  drag: (from: number, to: number) => void;
}

/** The canvas needs a family by name. */
export const FONT = 'system-ui, "Liberation Sans", "DejaVu Sans", sans-serif';

export function plotOptions(
  chart: Chart,
  lines: readonly Line[],
  width: number,
  now: () => Surroundings,
  { point, drag }: Reactions,
): uPlot.Options {
  const font = `11px ${FONT}`;
  const log = chart.scale === "log";
  return {
    width,
    height: HEIGHT,
    padding: [16, 26, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: true, y: false, setScale: false }, sync: { key: "run" }, points: { size: 6 }, y: false },
    scales: {
      x: { time: true, range: () => now().axis },
      y: { distr: log ? 3 : 1, range: (_, min, max) => (log ? logRange(min, max) : linearRange(max)) },
    },
    axes: [
      {
        stroke: () => colourOf("soft"),
        grid: { show: false },
        ticks: { stroke: () => colourOf("rule"), size: 4, width: 1 },
        font,
        space: 90,
        size: 26,
        values: (_, splits) => splits.map(clock),
      },
      {
        stroke: () => colourOf("soft"),
        grid: { stroke: () => colourOf("rule"), width: 1 },
        ticks: { show: false },
        font,
        size: 58,
        gap: 4,
        space: 30,
        filter: (_, splits) => splits,
        values: (_, splits) => splits.map((split) => brief(chart.format(split))),
        ...(log ? { splits: (_: uPlot, __: number, min: number, max: number) => logTicks(min, max, 6) } : {}),
      },
    ],
    series: [
      {},
      ...lines.map((line): uPlot.Series => ({
        label: line.name,
        stroke: () => colourOf(line.colour),
        width: line.dash === undefined ? 1.75 : 1.25,
        ...(line.dash === undefined ? {} : { dash: [...line.dash] }),
        ...(line.filled ? { fill: () => `color-mix(in srgb, ${colourOf(line.colour)} 12%, transparent)` } : {}),
        points: { show: (_, __, from, to) => to - from < 3, size: 4 },
        spanGaps: false,
      })),
    ],
    hooks: {
      setCursor: [point],
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 4) return;
          // Other charts show the same selection; only the one under the pointer acts.
          if (plot.root.matches(":hover")) drag(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
      drawClear: [(plot) => shade(plot, now().limited)],
      draw: [(plot) => drawLimits(plot, now().limits), (plot) => drawMarks(plot, now().bundles)],
    },
  };
}

/** Shades the parts of time in which the load tester was the limit. */
function shade(plot: uPlot, spans: readonly [number, number][]) {
  const { ctx, bbox } = plot;
  const inside = (x: number) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, x));
  ctx.save();
  ctx.fillStyle = colourOf("part");
  for (const [from, to] of spans) {
    const [left, right] = [inside(plot.valToPos(from, "x", true)), inside(plot.valToPos(to, "x", true))];
    if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

/** Draws a line at the limit of each threshold that is within the range, with its text. */
function drawLimits(plot: uPlot, limits: readonly LimitLine[]) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  ctx.font = `600 ${10 * devicePixelRatio}px ${FONT}`;
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  for (const { chain, at, label } of limits) {
    const y = Math.round(plot.valToPos(at, "y", true));
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.strokeStyle = ctx.fillStyle = colourOf(`chain-${chain}`);
    ctx.setLineDash([8 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.fillText(label, bbox.left + bbox.width, y - 2 * devicePixelRatio);
  }
  ctx.restore();
}

/** Draws a dashed line at each change of the load, with its text above. */
function drawMarks(plot: uPlot, bundles: readonly Bundle[]) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colourOf("accent");
  ctx.lineWidth = ratio;
  ctx.setLineDash([2 * ratio, 3 * ratio]);
  ctx.font = `600 ${10 * ratio}px ${FONT}`;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  let free = -Infinity;
  for (const bundle of bundles) {
    const x = Math.round(plot.valToPos(bundle.at, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const text = bundleSaid(bundle);
    const width = ctx.measureText(text).width;
    const left = Math.max(bbox.left, Math.min(x - width / 2, plot.ctx.canvas.width - width));
    if (left < free) continue;
    ctx.fillText(text, left, bbox.top - 13 * ratio);
    free = left + width + 6 * ratio;
  }
  ctx.restore();
}
