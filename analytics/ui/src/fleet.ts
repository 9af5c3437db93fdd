// The charts of a fleet that is driven, from the samples of its figures. Pure.

import { CLASS_DASHES, DASHED, type Chart, type Line } from "./charts";
import { lineOf, short } from "./observed";
import type { ObservedSeries } from "./wire";

/** The source of the fleet's figures among what is observed. */
export const SOURCE = "fleet";

type Lines = readonly (Pick<Line, "name" | "colour" | "dash"> & { series: string })[];

const CHARTS: readonly { id: string; title: string; unit: string; lines: Lines }[] = [
  {
    id: "fleet-demand",
    title: "Demand and service of the fleet",
    unit: "per second",
    lines: [
      { name: "orders", colour: "chains", series: "orders_total" },
      { name: "issued", colour: "hits", series: "issued_total" },
      { name: "planned orders", colour: "requests", dash: DASHED, series: "planned_orders_total" },
    ],
  },
  {
    id: "fleet-unserved",
    title: "Orders of the fleet without a certificate",
    unit: "per second",
    lines: [
      { name: "refused with 429 or 503", colour: "bad", series: "refused_total" },
      { name: "failed otherwise", colour: "chains", series: "failed_total" },
      { name: "not sent", colour: "requests", dash: DASHED, series: "not_sent_total" },
    ],
  },
  {
    id: "fleet-backlog",
    title: "Backlog of the fleet",
    unit: "renewals that wait, and sites that are down",
    lines: [
      { name: "waiting", colour: "chains", series: "waiting" },
      { name: "sites down", colour: "bad", series: "sites_down" },
    ],
  },
];

/** The class in the name of a series of orders that the CA refused. */
const REFUSED = /^refused_total\{class="([^"]+)"\}$/;

/** Demand beside service, the backlog, and which classes were refused; nothing without a fleet. */
export function fleetCharts(series: readonly ObservedSeries[]): Chart[] {
  const own = series.filter(({ source }) => source === SOURCE);
  if (own.length === 0) return [];
  const refused = own.flatMap((one) => {
    const name = REFUSED.exec(one.name)?.[1];
    return name === undefined ? [] : [{ name, one }];
  });
  const chart = (id: string, title: string, unit: string, lines: Line[]): Chart[] =>
    lines.length === 0 ? [] : [{ id, title, unit, format: short, scale: "linear", views: [], lines }];
  return [
    ...CHARTS.flatMap(({ id, title, unit, lines }) =>
      chart(
        id,
        title,
        unit,
        lines.flatMap(({ series: name, ...line }) => {
          const one = own.find((one) => one.name === name);
          return one === undefined ? [] : [{ ...line, y: lineOf(one) }];
        }),
      ),
    ),
    ...chart(
      "fleet-refused",
      "Orders refused with 429 or 503",
      "per second, by class of clients",
      refused.map(({ name, one }, place) => ({ name, colour: `class-${place % 6}`, ...CLASS_DASHES[place % 6], y: lineOf(one) })),
    ),
  ];
}
