// Whether the gallery is complete: each component is in it, and each run in each of its states can be rendered.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { render } from "svelte/server";
import { describe, expect, it } from "vitest";

import { START, TABS } from "../src/address";
import { router } from "../src/router.svelte";
import Gallery from "./Gallery.svelte";
import GalleryRun from "./GalleryRun.svelte";
import { RUN_STATES } from "./specimens";

const here = import.meta.dirname;
const components = ["parts", "tabs"].flatMap((folder) => readdirSync(join(here, "../src", folder)).filter((file) => file.endsWith(".svelte")));
const shown = readdirSync(here)
  .filter((file) => file.endsWith(".svelte"))
  .map((file) => readFileSync(join(here, file), "utf8"))
  .join("\n");

describe("the gallery", () => {
  it.each(components.map((file) => file.replace(".svelte", "")))("shows %s", (component) => {
    expect(shown).toMatch(new RegExp(`<${component}[\\s/>]`));
  });

  it("renders", () => {
    expect(render(Gallery).body).toContain("Components in all states");
  });

  it.each([...RUN_STATES.map((state) => ["overview", state] as const), ...TABS.map(({ id }) => [id, "has just begun"] as const), ...TABS.map(({ id }) => [id, "is over"] as const)])("renders %s of a run that %s", (tab, state) => {
    router.place = { ...START, tab };
    const { body } = render(GalleryRun, { props: { state } });
    expect(body).toContain(`data-specimen="${tab}"`);
    router.place = START;
  });
});
