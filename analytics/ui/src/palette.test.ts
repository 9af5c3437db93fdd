// The colours of one chart can be told apart, also by people who see no difference of red and green.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { CHAINS, DEFAULT_WEIGHTS } from "./chains";
import { CHARTS, classesChart, STATE, TRANSFER, type Chart, type Line } from "./charts";
import { fleetCharts, SOURCE } from "./fleet";
import type { ObservedSeries } from "./wire";

type Rgb = readonly [number, number, number];
type Matrix = readonly [Rgb, Rgb, Rgb];

const THEMES = ["light", "dark"] as const;
type Theme = (typeof THEMES)[number];
const GROUND: Record<Theme, string> = { light: "#ffffff", dark: "#14181b" };

/** Every colour of the page by its name, for a light and a dark ground. */
const colours = new Map(
  ["tokens.css", "chains.css"].flatMap((file) => {
    const style = readFileSync(join(import.meta.dirname, file), "utf8");
    return [...style.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);/g)].map(([, name = "", light = "", dark = ""]) => [name, { light, dark }] as const);
  }),
);
const colour = (name: string, theme: Theme) => colours.get(name)?.[theme] ?? expect.fail(`no colour ${name}`);

/** Linear light. */
const linear = (hex: string) =>
  [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as unknown as Rgb;
const times = (matrix: Matrix, [r, g, b]: Rgb) => matrix.map(([x, y, z]) => x * r + y * g + z * b) as unknown as Rgb;

/** What people see who lack one kind of cones: Machado, Oliveira and Fernandes 2009, of full severity, in linear light. */
const EYES: Record<string, Matrix> = {
  normal: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};
const TO_CONES: Matrix = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]];
const TO_LAB: Matrix = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099], [0.0259040371, 0.7827717662, -0.808675766]];

/** OKLab, as an eye sees the colour. */
function seen(hex: string, eye: Matrix): Rgb {
  const light = times(eye, linear(hex)).map((value) => Math.min(1, Math.max(0, value))) as unknown as Rgb;
  return times(TO_LAB, times(TO_CONES, light).map(Math.cbrt) as unknown as Rgb);
}

/** The smallest distance over all eyes, of 100 between black and white. */
function distance(a: string, b: string): number {
  return Math.min(...Object.values(EYES).map((eye) => 100 * Math.hypot(...seen(a, eye).map((value, n) => value - (seen(b, eye)[n] ?? 0)))));
}

function contrast(a: string, b: string): number {
  const luminance = (hex: string) => times([[0.2126, 0.7152, 0.0722], [0, 0, 0], [0, 0, 0]], linear(hex))[0];
  const [low = 0, high = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

const observed = (name: string): ObservedSeries => ({ source: SOURCE, name, measure: "value", step_s: 1, at_unix_ns: [0], values: [0] });
const FLEET = fleetCharts(["orders_total", "issued_total", "planned_orders_total", "waiting", "sites_down", ...["a", "b", "c", "d", "e", "f"].map((name) => `refused_total{class="${name}"}`)].map(observed));
const ALL: readonly Chart[] = [...CHARTS, ...FLEET, TRANSFER, STATE, classesChart(["a", "b", "c", "d", "e", "f"])];

/** The least distance of lines that are drawn alike, and of lines that differ in their dashes or have an area below them. */
const ALIKE = 13;
const OTHERWISE = 10;
/** Of chains that a plan seldom has. */
const SELDOM = 7;

const style = ({ dash, filled }: Line) => JSON.stringify([dash, filled]);
const usual = ({ name }: Line) => (DEFAULT_WEIGHTS as Record<string, number>)[name] !== 0;

describe.each(THEMES)("on a %s ground", (theme) => {
  it.each(ALL.map((chart) => [chart.id, chart] as const))("the lines of %s can be told apart", (_, { lines }) => {
    lines.forEach((a, n) => {
      for (const b of lines.slice(n + 1)) {
        if (a.name === b.name || a.view !== b.view) continue;
        const least = !usual(a) || !usual(b) ? SELDOM : style(a) === style(b) ? ALIKE : OTHERWISE;
        expect(distance(colour(a.colour, theme), colour(b.colour, theme)), `${a.name} (${a.colour}) and ${b.name} (${b.colour})`).toBeGreaterThan(least);
      }
    });
  });

  it.each(["requests", "chains", "hits", "bad", ...CHAINS.map((chain) => `chain-${chain}`), ...[0, 1, 2, 3, 4, 5].map((n) => `class-${n}`)])("%s can be seen", (name) => {
    expect(contrast(colour(name, theme), GROUND[theme])).toBeGreaterThan(theme === "dark" && name.startsWith("chain-") ? 2 : 2.9);
  });
});

it("each class of failures is drawn in its own way", () => {
  const lines = classesChart(["a", "b", "c", "d", "e", "f"]).lines;
  expect(new Set(lines.map(style)).size).toBe(lines.length);
});
