// The page in headless Chromium with a real `wec demo`: what a person looks at and does, in this order.

import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { CHARTS } from "../src/charts";
import { positionOf } from "../src/replay";
import { CHAINS, parseLive, type ReplayView } from "../src/wire";
import { startDemo, startReplay, type Demo } from "./demo";
import { WireCutter } from "./wire-cutter";

const WORKERS = 8;
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const PATIENCE = 120_000;
const POLL = { timeout: PATIENCE, interval: 100 };

let demo: Demo;
let wires: WireCutter;
let browser: Browser;
let page: Page;
/** Errors in the browser's console. */
const complaints: string[] = [];

beforeAll(async () => {
  demo = await startDemo(WORKERS, ["requests{count} > 0", "chain.certificate{count} < 1000000000", "requests{failed} < 100%"]);
  wires = await WireCutter.to(demo.page);
  const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: FLAGS, timeout: PATIENCE });
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  page.setDefaultTimeout(PATIENCE);
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(wires.url);
});

afterAll(async () => {
  await browser?.close();
  await wires?.cut();
  await demo?.end();
});

const text = async (selector: string) => (await page.locator(selector).first().innerText()).trim();
/** A count as a number; thin spaces separate its groups. */
const number = async (selector: string) => Number((await text(selector)).replace(/[^\d.]/g, ""));
const figure = (name: string) => number(`[data-figure="${name}"]`);
const points = (chart: string) => page.locator(`[data-chart="${chart}"]`).getAttribute("data-points").then(Number);
const snapshot = async () => parseLive(await (await page.request.get(new URL("api/v1/runs/current/snapshot", wires.url).href)).text());

describe("the page of a run", () => {
  it("says what is tested and that it runs", async () => {
    await expect.poll(() => text("header"), POLL).toMatch(/running/);
    expect(await text("header")).toContain((await snapshot()).snapshot.run.target);
    expect(await page.title()).toMatch(/^running: https?:/);
  });

  it("shows figures that grow", async () => {
    await expect.poll(() => figure("rps"), POLL).toBeGreaterThan(0);
    const before = await figure("requests");
    await expect.poll(() => figure("requests"), POLL).toBeGreaterThan(before);
    await expect.poll(() => number('[data-count="certificates"]'), POLL).toBeGreaterThan(0);
    await expect.poll(() => number('[data-count="hits"]'), POLL).toBeGreaterThan(0);
    await expect.poll(() => figure("running"), POLL).toBe(WORKERS);
  });

  it.each(CHARTS.map((chart) => chart.id))("draws %s from the server's seconds", async (id) => {
    await expect.poll(() => points(id), POLL).toBeGreaterThan(5);
    const before = await points(id);
    await expect.poll(() => points(id), POLL).toBeGreaterThan(before);
  });

  it("draws lines that can be seen", async () => {
    await expect.poll(() => pixels("throughput", "--requests"), POLL).toBeGreaterThan(100);
    await expect.poll(() => pixels("response-time", "--chain-certificate"), POLL).toBeGreaterThan(20);
  });

  it("fills its tables", async () => {
    for (const [row, chain] of CHAINS.entries()) expect(await text(`#chains tbody tr:nth-child(${row + 1}) th`)).toBe(chain);
    await expect.poll(() => number("#chains tbody tr:nth-child(3) td:nth-child(2)"), POLL).toBeGreaterThan(0);
    for (const endpoint of ["newNonce", "newAccount", "newOrder", "finalize", "certificate"]) {
      await expect.poll(() => page.locator("#endpoints tbody th", { hasText: endpoint }).count(), POLL).toBeGreaterThan(0);
    }
    expect(await text("#validations tbody")).toMatch(/answered/);
  });

  it("shows how the thresholds stand, with value and limit", async () => {
    await expect.poll(() => page.locator('#thresholds [data-threshold="passed"]').count(), POLL).toBe(3);
    expect(await text("#thresholds h2")).toMatch(/all hold/);
    expect(await text("#thresholds tbody tr:nth-child(2)")).toMatch(/holds\s+chain\.certificate\{count\} < 1000000000\s+[\d\u202f]+\s+1.000.000.000/);
  });

  it("shows how well a percentile is known, below it", async () => {
    await expect.poll(() => text("#chains tbody tr:nth-child(3) .between"), POLL).toMatch(/^\d+(\.\d+)?–\d+(\.\d+)?$/);
  });

  it("says how much of the run is left", async () => {
    expect(await text("header dl")).toMatch(/left\s+1\d:\d\d/);
  });

  it("says whether the load tester keeps up, with the figures", async () => {
    const standing = () => page.locator("[data-generator]").getAttribute("data-generator");
    await expect.poll(standing, POLL).toMatch(/fine|was|is/);
    expect(await text('[data-generator-figure="lag"]')).toMatch(/\d.*s$/);
    expect(await text('[data-generator-figure="backlog"]')).toMatch(/%$/);
  });

  it("keeps still while its figures change", async () => {
    const parts = ['[data-figure="cps"]', '[data-count="polls"]', '[data-chart="errors"]', "#chains td", "#endpoints"];
    const places = () =>
      page.evaluate((parts) => parts.map((part) => document.querySelector(part)?.getBoundingClientRect().toJSON()), parts);
    const position = async () => (await places()).map(({ x, y }: DOMRect) => [x, y]);
    // A panel that reports a generator limit may appear above them and move them.
    const said = () => page.locator("[data-generator]").evaluate((part) => part.getBoundingClientRect().height);
    for (;;) {
      const [height, before] = [await said(), await position()];
      const requests = await figure("requests");
      await expect.poll(() => figure("requests"), POLL).toBeGreaterThan(requests + 50);
      const after = await position();
      if ((await said()) !== height) continue;
      expect(after).toEqual(before);
      break;
    }
  });

  it.each([
    [1440, "light"],
    [1440, "dark"],
    [900, "light"],
    [390, "light"],
  ] as const)("fits a window %s wide, %s", async (width, colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 900 });
    await expect
      .poll(() => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), POLL)
      .toBe(0);
    await expect.poll(() => pixels("throughput", "--requests"), POLL).toBeGreaterThan(100);
  });

  it("changes the number of workers, which the run follows", async () => {
    const field = page.getByLabel("Workers", { exact: true });
    await field.press("Control+a");
    await field.press("Delete");
    await field.pressSequentially("20");
    await field.press("Enter");
    await expect.poll(() => figure("target"), POLL).toBe(20);
    await expect.poll(() => figure("running"), POLL).toBe(20);

    await page.getByRole("button", { name: "Subtract 1 from the workers", exact: true }).click();
    await expect.poll(() => figure("running"), POLL).toBe(19);

    const now = await snapshot();
    expect(now.session?.workers_target).toBe(19);
    expect(now.session?.workers_running).toBe(19);
    const changes = now.snapshot.marks.filter(({ what }) => what === "workers");
    expect(changes.slice(-2).map(({ by, from, to }) => [by, from, to])).toEqual([
      ["page", String(WORKERS), "20"],
      ["page", "20", "19"],
    ]);
    expect(await text("#changes tbody tr:first-child")).toMatch(/a page\s+workers 20 → 19/);
  });

  it("changes weights and limits, and shows what the board has of them", async () => {
    const weights = page.locator('[data-values="Weights of chains"]');
    await weights.locator("summary").click();
    await weights.getByLabel("revoke").fill("0");
    await weights.getByRole("button", { name: "Apply" }).click();
    await expect.poll(() => weights.locator("summary").innerText(), POLL).toMatch(/revoke 0/);
    const limits = page.locator('[data-values="Limits"]');
    await limits.locator("summary").click();
    await limits.getByLabel("registrations").fill("100000");
    await limits.getByLabel("registrations").press("Enter");
    await expect.poll(() => limits.locator("summary").innerText(), POLL).toMatch(/registrations 100.000/);
    const { session } = await snapshot();
    expect(session?.scenarios["default"]?.weights.revoke).toBe(0);
    expect(session?.limits).toEqual({ registrations: 100_000, authorizations: null, certificates: null });
    await limits.getByLabel("registrations").fill("");
    await limits.getByLabel("registrations").press("Enter");
    await expect.poll(async () => (await snapshot()).session?.limits.registrations, POLL).toBeNull();
  });

  it("pauses the run and goes on with it", async () => {
    await page.getByRole("button", { name: "Pause" }).click();
    await expect.poll(() => text("header"), POLL).toMatch(/paused/);
    await page.getByRole("button", { name: "Resume" }).click();
    await expect.poll(() => text("header"), POLL).toMatch(/running/);
    const states = async () => (await snapshot()).snapshot.marks.filter(({ what }) => what === "state");
    // The board has a change before the log.
    await expect
      .poll(async () => (await states()).map(({ by, from, to }) => [by, from, to]), POLL)
      .toEqual([
        ["page", "running", "paused"],
        ["page", "paused", "running"],
      ]);
  });

  it("names a change in the chart under the pointer", async () => {
    await page.setViewportSize({ width: 1440, height: 900 });
    const plot = page.locator('[data-chart="throughput"]');
    await expect
      .poll(async () => {
        // A panel may appear above meanwhile, as for a generator limit, and move it out of the window.
        await plot.locator(".u-over").scrollIntoViewIfNeeded();
        const box = await plot.locator(".u-over").boundingBox();
        for (let x = box?.width ?? 0; box !== null && x > 0; x -= 8) {
          await page.mouse.move(box.x + x, box.y + box.height / 2);
          const named = plot.locator(".near");
          if (await named.isVisible()) return named.innerText();
        }
        return "";
      }, POLL)
      .toMatch(/state paused → running by a page, \d+:\d+:\d+/);
    await page.mouse.move(0, 0);
  });

  it("asks before it stops a run, and Escape means no", async () => {
    await page.getByRole("button", { name: "Stop…" }).press("Enter");
    const dialog = page.getByRole("dialog", { name: "Stop the run?" });
    await expect.poll(() => dialog.isVisible(), POLL).toBe(true);
    await page.keyboard.press("Escape");
    await expect.poll(() => dialog.isVisible(), POLL).toBe(false);
    expect((await snapshot()).session?.state).toBe("running");
  });

  it("shows the server's words for what it does not take", async () => {
    await page.route("**/sessions/*/scenarios/**", (route) =>
      route.fulfill({ status: 409, contentType: "application/json", body: '{"error":"the session has been stopped"}' }),
    );
    await page.getByRole("button", { name: "Add 1 to the workers", exact: true }).click();
    const control = page.locator('[data-control="workers"]');
    await expect.poll(() => control.getByRole("status").innerText(), POLL).toBe("the session has been stopped");
    expect(await control.getByRole("spinbutton").inputValue()).toBe("19");
    await page.unroute("**/sessions/*/scenarios/**");
    // The browser reports every refused request as an error.
    complaints.splice(0, complaints.length, ...complaints.filter((complaint) => !complaint.includes("409")));
  });

  it("lists the runs, leads to each, and says when the list cannot be had", async () => {
    // An ended run: a copy of this run's log with another id and a start an hour earlier.
    const { log } = (await snapshot()).health;
    const [first = "", ...records] = (await readFile(join(demo.folder, log), "utf8")).split("\n").slice(0, -1);
    const header = JSON.parse(first) as Record<string, unknown> & { started_unix_ns: number };
    const earlier = { ...header, run: "earlier", started_unix_ns: header.started_unix_ns - 3_600e9 };
    const copy = [JSON.stringify(earlier), ...records].join("\n");
    await writeFile(join(demo.folder, dirname(log), "earlier.jsonl"), `${copy}\n`);

    await page.getByRole("link", { name: "Runs", exact: true }).click();
    await expect.poll(() => page.locator("#runs tbody tr").count(), POLL).toBe(2);
    const rows = () => page.locator("#runs tbody tr").evaluateAll((rows) => rows.map((row) => row.getAttribute("data-standing")));
    await expect.poll(rows, POLL).toEqual(["live", expect.stringMatching(/passed|failed/)]);
    await expect.poll(() => number("#runs tbody tr:nth-child(1) td:nth-child(5)"), POLL).toBeGreaterThan(0);
    expect(await text("#runs tbody tr:nth-child(2)")).toMatch(/earlier\s+https:/);
    for (const width of [1280, 400]) {
      await page.setViewportSize({ width, height: 900 });
      expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBe(0);
    }
    await page.setViewportSize({ width: 1440, height: 900 });

    await page.route("**/api/v1/runs", (route) =>
      route.fulfill({ status: 503, contentType: "application/json", body: '{"error":"the disk is gone"}' }),
    );
    await expect.poll(() => page.getByRole("alert").innerText(), POLL).toMatch(/could not be fetched:\s+the disk is gone/);
    expect(await page.locator("#runs tbody tr").count()).toBe(2);
    await page.unroute("**/api/v1/runs");
    await page.route("**/api/v1/runs", (route) => route.fulfill({ contentType: "application/json", body: '{"runs":[]}' }));
    await expect.poll(() => text("main"), POLL).toMatch(/^No runs yet/);
    await page.unroute("**/api/v1/runs");
    complaints.splice(0, complaints.length, ...complaints.filter((complaint) => !complaint.includes("503")));

    await page.getByRole("link", { name: "earlier", exact: true }).click();
    await expect.poll(() => text("header"), POLL).toMatch(/finished/);
    expect(new URL(page.url()).search).toBe("?run=earlier");
    expect(await text("[aria-live]")).toMatch(/The run is over.*final figures, of \d{4}-\d\d-\d\d/);
    expect(await figure("requests")).toBeGreaterThan(0);
    expect(await page.getByRole("button", { name: "Pause" }).count()).toBe(0);
    await page.locator("#plan summary").click();
    expect(await text("#plan pre")).toMatch(/"executor": "workers"/);

    await page.getByRole("link", { name: "Current run" }).click();
    await expect.poll(() => text("header"), POLL).toMatch(/running/);
    await expect.poll(() => points("throughput"), POLL).toBeGreaterThan(5);
  });

  it("has given the browser nothing to complain about", () => {
    expect(complaints).toEqual([]);
  });

  it("says that the connection is lost, and goes on without a gap when it is back", async () => {
    const before = await points("throughput");
    await wires.cut();
    await expect.poll(() => text("header"), POLL).toMatch(/connection lost/);
    expect(await text("[aria-live]")).toMatch(/Connection to analytics lost/);
    expect(await page.getByLabel("Workers", { exact: true }).isDisabled()).toBe(true);
    expect(await page.getByRole("button", { name: "Pause" }).isDisabled()).toBe(true);

    await wires.mend();
    await expect.poll(() => text("header"), POLL).toMatch(/running/);
    expect(await page.locator("[aria-live]").innerText()).toBe("");
    await expect.poll(() => points("throughput"), POLL).toBeGreaterThan(before + 2);
    const lacks = async () => (await snapshot()).series.at_unix_s.length - (await points("throughput"));
    await expect.poll(lacks, { ...POLL, message: "buckets that the page lacks" }).toBeLessThanOrEqual(3);
  });

  it("stops the run when told so twice, and shows the final figures", async () => {
    await page.getByRole("button", { name: "Stop…" }).click();
    await page.getByRole("button", { name: "Stop the run" }).click();
    await expect.poll(() => text("header"), POLL).toMatch(/finished/);
    expect(await text("[aria-live]")).toMatch(/The run is over/);
    expect(await figure("requests")).toBeGreaterThan(0);
    expect(await demo.ended).toBe(0);
  });
});

describe("the page of a replay", () => {
  let replay: Demo;
  const shown = async (path: string) => (await page.request.get(new URL(`api/v1/${path}`, replay.page).href)).text();
  const figures = async () => parseLive(await shown("runs/current/snapshot"));
  const slider = () => page.getByRole("slider", { name: "Position in the run" });

  beforeAll(async () => {
    replay = await startReplay(join(demo.folder, (await lastLog()).log), 1000);
    await page.goto(replay.page.href);
  });

  afterAll(async () => replay?.end());

  /** The log of the demo. */
  async function lastLog() {
    const [name = ""] = (await readdir(join(demo.folder, "results"))).filter((name) => name !== "earlier.jsonl");
    const log = join("results", name);
    const lines = (await readFile(join(demo.folder, log), "utf8")).trimEnd().split("\n");
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
    const beyond = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    await expect.poll(beyond, POLL).toBe(0);
    expect(await slider().isVisible()).toBe(true);
  });
});

/** Pixels of a chart that have the colour of a custom property. */
function pixels(chart: string, property: string): Promise<number> {
  return page.evaluate(
    ([chart, property]) => {
      const canvas = document.querySelector<HTMLCanvasElement>(`[data-chart="${chart}"] canvas`);
      if (!canvas) return 0;
      // Read from a copy, because reading from the page's canvas would change how it is drawn.
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
      if (!copy) return 0;
      copy.drawImage(canvas, 0, 0);
      const probe = document.createElement("i");
      probe.style.color = `var(${property})`;
      document.body.append(probe);
      const [r, g, b] = (getComputedStyle(probe).color.match(/\d+/g) ?? []).map(Number);
      probe.remove();
      const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
      let found = 0;
      for (let at = 0; at < data.length; at += 4) {
        if (data[at] === r && data[at + 1] === g && data[at + 2] === b && data[at + 3] === 255) found += 1;
      }
      return found;
    },
    [chart, property] as const,
  );
}
