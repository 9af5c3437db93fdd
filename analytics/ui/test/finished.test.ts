// A CA that fails, found on the page; and its run after the process has ended, by `wec serve` and `wec replay`. Beside it a
// run against Pebble, with which it is compared.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { positionOf } from "../src/replay";
import { parseLive, type Comparison, type ReplayView, type WindowView } from "../src/wire";
import { Opened, POLL } from "./browser";
import { printed, startFailing, startPebble, startReplay, startServe, type Demo } from "./demo";

const SECONDS = 30;
const TOKEN = "a-token-of-the-test";

let ca: Demo;
let run: Demo;
type AtPebble = Awaited<ReturnType<typeof startPebble>>;
/** It runs while the failing run is looked at. */
let starting: Promise<AtPebble>;
let pebble: AtPebble;
let opened: Opened;
let page: Opened["page"];

beforeAll(async () => {
  ({ ca, run } = await startFailing(SECONDS));
  opened = await Opened.at(run.page.href);
  page = opened.page;
  starting = startPebble(SECONDS / 2, join(run.folder, "results"));
  // Its error is that of who waits for it.
  starting.catch(() => undefined);
});

afterAll(async () => {
  await opened?.close();
  pebble ??= await starting;
  await pebble?.run.end();
  await pebble?.ca.end();
  await run?.end();
  await ca?.end();
});

const text = (selector: string) => opened.text(selector);
const figure = (name: string) => opened.figure(name);

/** A part of the run, of which the figures are compared while it goes on and after. */
const PART = "tab=statistics&from=3&to=8";
let livePart: string[][];

/** All cells of the statistics of the part, but the name of the node, which only a live page has. */
async function statistics(): Promise<string[][]> {
  await expect.poll(() => page.locator("[data-part]").getAttribute("data-part"), POLL).toBe("part");
  return page.locator("#statistics tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent?.trim().replace(/^\S+ (?=requests of )/, "") ?? "")));
}

/** The log of the run against the failing CA. */
async function lastLog({ folder }: Demo) {
  for (const name of (await readdir(join(folder, "results"))).filter((name) => name.endsWith(".jsonl"))) {
    const log = join("results", name);
    const lines = (await readFile(join(folder, log), "utf8")).trimEnd().split("\n");
    if (lines[0]?.includes(ca.page.port)) return { log, records: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
  }
  return expect.fail("the run has no log");
}

describe("a CA that fails", () => {
  it("is found in two clicks, from the header to an example", async () => {
    await expect.poll(() => text('[data-figure="verdict"]'), POLL).toMatch(/✗ 0 of 1/);
    await page.getByRole("link", { name: /^Failed/ }).click();
    await page.locator("#failures").getByRole("link", { name: "request newOrder" }).first().click();
    await expect.poll(() => text("#example"), POLL).toMatch(/newOrder: 500/);
    expect(await text("#example")).toMatch(/first seen, of this example\s+\d\d:\d\d:\d\d/);
    expect(new URL(page.url()).search).toMatch(/tab=failures&row=request%7CnewOrder/);
    expect(await text("#example")).toMatch(/goes on/);
    expect(await page.locator("#example svg rect").count()).toBeGreaterThan(0);
    expect(await opened.violations()).toEqual([]);
  });

  it("has the figures of a part while it goes on", async () => {
    const { snapshot: now } = parseLive(await (await page.request.get(new URL("api/v1/runs/current/snapshot", run.page).href)).text());
    // The log has what ended in the part a second later.
    await expect.poll(async () => parseLive(await (await page.request.get(new URL("api/v1/runs/current/snapshot", run.page).href)).text()).run_ns, POLL).toBeGreaterThan(10e9);
    await page.goto(new URL(`?run=${now.run.id}&${PART}`, run.page).href);
    livePart = await statistics();
    expect(livePart.length).toBeGreaterThan(10);
    await page.goto(run.page.href);
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

  const row = () => page.locator("#runs tbody tr").filter({ hasText: ca.page.port });

  beforeAll(async () => {
    pebble = await starting;
    expect(await pebble.run.ended).toBe(0);
    served = await startServe(join(run.folder, "results"), TOKEN);
  });

  afterAll(async () => served?.end());

  it("asks for a token, and takes only the right one", async () => {
    expect((await page.goto(new URL("?tab=runs", served.page).href))?.status()).toBe(401);
    const field = page.getByLabel("Token");
    expect(await field.evaluate((field) => field === document.activeElement)).toBe(true);
    // Its style is loaded under the policy of the page.
    expect(await page.getByRole("button", { name: "Log in" }).evaluate((button) => getComputedStyle(button).fontWeight)).toBe("600");
    expect(await opened.violations()).toEqual([]);
    await field.fill("wrong");
    await field.press("Enter");
    await expect.poll(() => page.getByRole("alert").innerText(), POLL).toBe("This token is not known here.");
    expect(page.url()).not.toContain("wrong");
    await page.getByLabel("Token").fill(TOKEN);
    await page.getByRole("button", { name: "Log in" }).click();
    await expect.poll(() => new URL(page.url()).search, POLL).toBe("?tab=runs");
    expect(page.url()).not.toContain(TOKEN);
    await expect.poll(() => page.locator("#runs tbody tr").count(), POLL).toBe(2);
  });

  it("opens with the runs where no run goes on, and says when there is no such run", async () => {
    await page.goto(served.page.href);
    await expect.poll(() => new URL(page.url()).search, POLL).toBe("?tab=runs");
    await opened.tab("Overview");
    await expect.poll(() => text("header"), POLL).toMatch(/waiting for a run/);
    await page.goto(new URL("?run=nothing", served.page).href);
    await expect.poll(() => text("#main"), POLL).toMatch(/^There is no run "nothing"/);
    expect(await text("header")).toMatch(/no such run/);
    expect(await opened.violations()).toEqual([]);
    await page.getByRole("link", { name: "All runs" }).click();
    await expect.poll(() => page.locator("#runs tbody tr").count(), POLL).toBe(2);
  });

  it("keeps a note, which others see", async () => {
    await row().getByRole("button", { name: /^Add a note/ }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Note").fill("newOrder fails on purpose");
    await dialog.getByRole("button", { name: "Keep" }).click();
    await expect.poll(() => row().innerText(), POLL).toMatch(/newOrder fails on purpose/);
    await page.reload();
    await expect.poll(() => row().innerText(), POLL).toMatch(/newOrder fails on purpose/);
  });

  it("is compared with the run at Pebble, and differs", async () => {
    for (const box of await page.getByRole("checkbox", { name: /^Compare/ }).all()) await box.check();
    await expect.poll(() => text('[data-compare="all requests failed"]'), POLL).toMatch(/pp\s.*(better|worse)/s);
    // The load differs, so the runs may not be comparable.
    expect(await text("#compare-attention")).toMatch(/Attention: plan\.\S+ differs: /);
    expect(await opened.violations()).toEqual([]);
    // The address has the choice: another person sees the same.
    const shown = await text("#compare tbody");
    expect(new URL(page.url()).search).toMatch(/compare=/);
    await page.reload();
    await expect.poll(() => text("#compare tbody"), POLL).toBe(shown);
    const [before = "", after = ""] = new URL(page.url()).searchParams.get("compare")?.split(",").sort() ?? [];
    const compared = JSON.parse(await get(`comparison?before=${before}&after=${after}`)) as Comparison;
    const files = await Promise.all([before, after].map(async (id) => join("results", (await readdir(join(run.folder, "results"))).find((name) => name.startsWith(id) && name.endsWith(".jsonl")) ?? "")));
    const { differences, warnings } = JSON.parse(printed(["compare", "--json", ...files], run.folder)) as Comparison;
    expect({ differences: compared.differences, warnings: compared.warnings }).toEqual({ differences, warnings });
    await page.locator("#compare").getByRole("button", { name: "Close" }).click();
  });

  it("gives its report, which opens without a network", async () => {
    const loading = page.waitForEvent("download");
    await row().getByRole("link", { name: /as HTML$/ }).click();
    const file = join(run.folder, "report.html");
    await (await loading).saveAs(file);
    const asked: string[] = [];
    const context = (await page.context().browser()?.newContext({ offline: true })) ?? expect.fail("no browser");
    const offline = await context.newPage();
    offline.on("request", (request) => asked.push(request.url()));
    await offline.goto(`file://${file}`);
    expect(await offline.locator("h1").innerText()).toContain(ca.page.port);
    expect(await offline.locator("body").innerText()).toMatch(/newOrder/);
    expect(asked).toEqual([`file://${file}`]);
    await context.close();
  });

  it("gives its log as it is, and its statistics for a spreadsheet", async () => {
    const saved = async (name: RegExp) => {
      const loading = page.waitForEvent("download");
      await row().getByRole("link", { name }).click();
      return readFile(await (await loading).path(), "utf8");
    };
    expect(await saved(/^Log of/)).toBe(await readFile(join(run.folder, (await lastLog(run)).log), "utf8"));
    expect(await saved(/as CSV$/)).toMatch(/^group,name,detail,count[\s\S]*\r\nendpoint,newOrder,POST/);
  });

  it("is opened from the list, with what failed and nothing to steer", async () => {
    const link = row().locator("th a").first();
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
    await page.goto(new URL(`?run=${id}&${PART}`, served.page).href);
    const part = JSON.parse(await get(`runs/${id}/window?from_ns=3000000000&to_ns=8000000000`)) as WindowView;
    expect(await statistics()).toEqual(livePart);
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
    replay = await startReplay(join(run.folder, (await lastLog(run)).log), 1000);
    await page.goto(replay.page.href);
  });

  afterAll(async () => replay?.end());

  it("plays the run to its end, with the figures of its log and nothing to steer", async () => {
    await expect.poll(() => text("header"), POLL).toMatch(/replay, at the end/);
    const { records } = await lastLog(run);
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
    const { records } = await lastLog(run);
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
