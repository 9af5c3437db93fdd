// A CA that fails, found on the page; and its run after the process has ended, by `wec serve` and `wec replay`.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { positionOf } from "../src/replay";
import { parseLive, type ReplayView, type WindowView } from "../src/wire";
import { Opened, POLL } from "./browser";
import { startFailing, startReplay, startServe, type Demo } from "./demo";

const SECONDS = 20;

let ca: Demo;
let run: Demo;
let opened: Opened;
let page: Opened["page"];

beforeAll(async () => {
  ({ ca, run } = await startFailing(SECONDS));
  opened = await Opened.at(run.page.href);
  page = opened.page;
});

afterAll(async () => {
  await opened?.close();
  await run?.end();
  await ca?.end();
});

const text = (selector: string) => opened.text(selector);
const figure = (name: string) => opened.figure(name);

describe("a CA that fails", () => {
  it("is found in two clicks, from the header to an example", async () => {
    await expect.poll(() => text('[data-figure="verdict"]'), POLL).toMatch(/✗ 0 of 1/);
    await page.getByRole("link", { name: /^Failed/ }).click();
    await page.locator("#failures").getByRole("link", { name: "request newOrder" }).first().click();
    await expect.poll(() => text("#example"), POLL).toMatch(/newOrder: 500/);
    expect(await text("#example")).toMatch(/first seen, of this example\s+\d\d:\d\d:\d\d/);
    expect(new URL(page.url()).search).toMatch(/tab=failures&row=request%7CnewOrder/);
    expect(await opened.violations()).toEqual([]);
  });

  it("has its run on the page until it ends", async () => {
    expect(await run.ended).not.toBe(0);
    await expect.poll(() => text("header"), POLL).toMatch(/finished|connection lost/);
  });
});

describe("the finished run, served from its log", () => {
  let served: Demo;
  let id: string;
  const get = async (path: string) => (await page.request.get(new URL(`api/v1/${path}`, served.page).href)).text();

  beforeAll(async () => {
    served = await startServe(join(run.folder, "results"));
    await page.goto(new URL("?tab=runs", served.page).href);
  });

  afterAll(async () => served?.end());

  it("is opened from the list, with what failed and nothing to steer", async () => {
    const link = page.locator("#runs tbody th a").first();
    id = (await link.innerText()).trim();
    await link.click();
    await expect.poll(() => text("header"), POLL).toMatch(/finished/);
    expect(await page.getByLabel("Workers", { exact: true }).count()).toBe(0);
    const { snapshot } = parseLive(await get(`runs/${id}/snapshot`));
    await expect.poll(() => figure("requests"), POLL).toBe(snapshot.requests);
    await expect.poll(() => page.locator('[data-chart="classes"]').count(), POLL).toBe(1);
    await opened.tab("Failures");
    await expect.poll(() => page.locator("#failures tbody").innerText(), POLL).toMatch(/request newOrder/);
  });

  it("has the figures of a part, to the digit", async () => {
    await page.goto(new URL(`?run=${id}&tab=statistics&from=3&to=8`, served.page).href);
    const part = JSON.parse(await get(`runs/${id}/window?from_ns=3000000000&to_ns=8000000000`)) as WindowView;
    const shown = page.locator('#statistics tr[data-row="all requests"] td').first();
    await expect.poll(async () => Number((await shown.innerText()).replace(/\D/g, "")), POLL).toBe(part.snapshot.requests);
    await opened.tab("Failures");
    const kinds = part.snapshot.failures.length;
    await expect.poll(() => page.locator("#failures tbody tr").count(), POLL).toBe(kinds);
  });
});

describe("the page of a replay", () => {
  let replay: Demo;
  const shown = async (path: string) => (await page.request.get(new URL(`api/v1/${path}`, replay.page).href)).text();
  const figures = async () => parseLive(await shown("runs/current/snapshot"));
  const slider = () => page.getByRole("slider", { name: "Position in the run" });

  beforeAll(async () => {
    replay = await startReplay(join(run.folder, (await lastLog()).log), 1000);
    await page.goto(replay.page.href);
  });

  afterAll(async () => replay?.end());

  /** The log of the demo. */
  async function lastLog() {
    const [name = ""] = (await readdir(join(run.folder, "results"))).filter((name) => name.endsWith(".jsonl"));
    const log = join("results", name);
    const lines = (await readFile(join(run.folder, log), "utf8")).trimEnd().split("\n");
    return { log, records: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
  }

  it("plays the run to its end, with the figures of its log and nothing to steer", async () => {
    await expect.poll(() => text("header"), POLL).toMatch(/replay, at the end/);
    const { records } = await lastLog();
    const requests = records.reduce((sum, record) => sum + ((record["individualresults"] as unknown[] | undefined)?.length ?? 0), 0);
    await expect.poll(() => figure("requests"), POLL).toBe(requests);
    expect(await page.getByRole("button", { name: "Stop…" }).count()).toBe(0);
    expect(await page.getByLabel("Workers", { exact: true }).count()).toBe(0);
  });

  it("goes to a position by the keyboard, and shows what had come until then", async () => {
    await slider().press("Home");
    await expect.poll(() => text("header"), POLL).toMatch(/replay, paused/);
    for (let step = 0; step < 5; step += 1) await slider().press("ArrowRight");
    const step = Number(await slider().inputValue());
    expect(step).toBe(5);
    const settled = async () => JSON.parse(await shown("replay")) as ReplayView;
    const { length_ns } = await settled();
    const position = positionOf(step, length_ns);
    await expect.poll(settled, POLL).toMatchObject({ position_ns: position, seeking: false });
    const { snapshot: there } = await figures();
    const { records } = await lastLog();
    // Each record when its time and those of the records before it have come.
    let through = 0;
    let requests = 0;
    for (const record of records) {
      const ended = BigInt((record["origin_unix_ns"] as number | undefined) ?? 0) + BigInt((record["done"] as number | undefined) ?? 0);
      const at = Number(ended > 0n ? ended : BigInt((record["at_unix_ns"] as number | undefined) ?? 0));
      if (record["record"] !== "header" && record["record"] !== "footer") through = Math.max(through, at);
      if (through > there.run.started_unix_ns + position) break;
      requests += (record["individualresults"] as unknown[] | undefined)?.length ?? 0;
    }
    // JavaScript reads these times to within 256 ns.
    expect(there.requests).toBe(requests);
    await expect.poll(() => figure("requests"), POLL).toBe(requests);
  });

  it("plays, changes its speed and pauses", async () => {
    await page.getByLabel("Speed").selectOption("×5");
    await page.getByRole("button", { name: "Play" }).press("Enter");
    await expect.poll(() => text("header"), POLL).toMatch(/replay, playing ×5/);
    const before = await figure("requests");
    await expect.poll(() => figure("requests"), POLL).toBeGreaterThan(before);
    await page.getByRole("button", { name: "Pause the replay" }).click();
    await expect.poll(() => text("header"), POLL).toMatch(/replay, (paused|at the end)/);
    const { snapshot: stopped } = await figures();
    await expect.poll(() => figure("requests"), POLL).toBe(stopped.requests);
  });

  it.each([
    [1280, "light"],
    [1280, "dark"],
    [390, "light"],
    [390, "dark"],
  ] as const)("fits a window %s wide, %s", async (width, colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 900 });
    await expect.poll(() => opened.beyond(), POLL).toBe(0);
    expect(await slider().isVisible()).toBe(true);
  });
});
