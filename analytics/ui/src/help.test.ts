import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { CHARTS, classesChart, STATE, TRANSFER, VALIDATIONS } from "./charts";
import { HELP, termOf, topicOf } from "./help";
import { GROUPS, OTHER_COLUMNS } from "./statistics";
import { TIMING_COLUMNS } from "./timing";

const sources = ["parts", "tabs"].flatMap((folder) =>
  readdirSync(join(import.meta.dirname, folder)).map((name) => readFileSync(join(import.meta.dirname, folder, name), "utf8")),
);
/** Each panel with a table, and its markup. */
const panels = sources.flatMap((source) => [...source.matchAll(/<TablePanel id="([^"]+)"[\s\S]*?<\/TablePanel>/g)].map(([markup, id = ""]) => ({ id, markup })));

describe("the table of help", () => {
  it("has each panel", () => {
    expect(panels.length).toBeGreaterThan(15);
    for (const { id } of panels) expect(topicOf(id), id).toBeDefined();
    for (const [, topic = ""] of sources.flatMap((source) => [...source.matchAll(/<Help topic="([^"]+)"/g)])) expect(topicOf(topic), topic).toBeDefined();
  });

  it("has each heading of each panel", () => {
    for (const { id, markup } of panels) {
      const topic = topicOf(id) ?? expect.fail(`no help for ${id}`);
      for (const [, attributes = "", text = ""] of markup.matchAll(/<th([^>]*scope="col"[^>]*)>([\s\S]*?)<\/th>/g)) {
        const heading = text.replace(/<[^>]*>/g, "").trim();
        // Those with braces are from tables of their own, or given by the run.
        if (heading.includes("{")) continue;
        expect(termOf(topic, heading), `${id}: ${heading}`).toBeDefined();
        expect(attributes, "its words are in the table of help").not.toMatch(/title=/);
      }
    }
  });

  it("has each chart, with its lines and views", () => {
    for (const chart of [...CHARTS, VALIDATIONS, TRANSFER, STATE, classesChart(["timeout"])]) {
      const topic = topicOf(chart.id) ?? expect.fail(`no help for ${chart.id}`);
      for (const { label } of chart.views) expect(topic.terms[label], `${chart.id}: ${label}`).toBeDefined();
      // Lines of chains and of classes have the names of these.
      if (chart.id === "response-time" || chart.id === "classes") continue;
      for (const { name } of chart.lines) expect(topic.terms[name], `${chart.id}: ${name}`).toBeDefined();
    }
    expect(topicOf("fleet-demand")).toBe(HELP["fleet"]);
    expect(topicOf("ca go_goroutines value")).toBe(HELP["observed"]);
    expect(topicOf("nothing")).toBeUndefined();
  });

  it("has each column of the statistics, sorted or not", () => {
    const topic = topicOf("statistics") ?? expect.fail("no help");
    for (const { label } of [...TIMING_COLUMNS, ...OTHER_COLUMNS]) expect(termOf(topic, `${label} ↓`), label).toBeDefined();
    for (const { label } of GROUPS.slice(1)) expect(topic.what).toContain(label);
  });

  it("is in sentences that the page ends", () => {
    for (const [id, { what, source, terms }] of Object.entries(HELP)) {
      for (const sentence of [what, source]) expect(sentence, id).toMatch(/^[A-Z].*\.$/);
      for (const [term, text] of Object.entries(terms)) expect(text, `${id}: ${term}`).toMatch(/^[A-Z\d][^]*[^.]$/);
    }
  });
});
