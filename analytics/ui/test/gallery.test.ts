// The gallery of `npm run dev` in a real browser: every component in its states, by the invented run, without complaints.

import { resolve } from "node:path";

import { createServer, type ViteDevServer } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { TABS } from "../src/address";
import { Opened } from "./browser";

let server: ViteDevServer;
let opened: Opened;

beforeAll(async () => {
  server = await createServer({ configFile: resolve(import.meta.dirname, "../dev/vite.config.ts"), logLevel: "error", server: { port: 0, watch: null } });
  await server.listen();
  opened = await Opened.at(new URL("dev/gallery.html", server.resolvedUrls?.local[0]).href);
});

afterAll(async () => {
  await opened?.close();
  await server?.close();
});

describe("the gallery", () => {
  it("shows each tab of a run", async () => {
    for (const { id, label } of TABS) {
      await opened.page.locator("[data-specimen]").getByRole("navigation", { name: "Views" }).getByRole("link", { name: label }).first().click();
      await opened.page.locator(`[data-specimen="${id}"] .inside`).locator(".panel").first().waitFor();
    }
  });

  it("shows a run in each of its states", async () => {
    const states = opened.page.getByRole("group", { name: "State of the run" }).getByRole("button");
    for (const state of await states.all()) {
      await state.click();
      expect(await state.getAttribute("aria-pressed")).toBe("true");
      await opened.page.locator("[data-specimen] header .state").first().waitFor();
    }
  });

  it("gives the browser nothing to complain about but the path that does not exist", () => {
    expect(opened.complaints.filter((complaint) => !complaint.includes("/api/v1/nothing"))).toEqual([]);
  });
});
