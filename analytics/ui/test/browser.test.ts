// The page in headless Chromium with a real `wec demo`: what a person looks at and does, in this order.

import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { TABS } from "../src/address";
import { DEFAULT_WEIGHTS } from "../src/chains";
import { CHARTS } from "../src/charts";
import { CHAINS, parseLive, type DistributionView, type WindowView } from "../src/wire";
import { Opened, POLL } from "./browser";
import { startDemo, type Demo } from "./demo";
import { WireCutter } from "./wire-cutter";

const WORKERS = 8;

let demo: Demo;
let wires: WireCutter;
let opened: Opened;
let page: Opened["page"];

beforeAll(async () => {
  demo = await startDemo(WORKERS, ["requests{count} > 0", "chain.certificate{count} < 1000000000", "requests{failed} < 100%"]);
  wires = await WireCutter.to(demo.page);
  opened = await Opened.at(wires.url);
  page = opened.page;
});

afterAll(async () => {
  await opened?.close();
  await wires?.cut();
  await demo?.end();
});

const text = (selector: string) => opened.text(selector);
const figure = (name: string) => opened.figure(name);
const points = (chart: string) => opened.points(chart);
const get = async (path: string) => (await page.request.get(new URL(`api/v1/${path}`, wires.url).href)).text();
const snapshot = async () => parseLive(await get("runs/current/snapshot"));
const row = (id: string) => page.locator(`#statistics tr[data-row="${id}"]`);
/** The browser reports every refused request as an error. */
const expected = (status: string) => opened.complaints.splice(0, opened.complaints.length, ...opened.complaints.filter((complaint) => !complaint.includes(status)));

describe("the page of a run", () => {
  it("says what is tested and that it runs", async () => {
    await expect.poll(() => text("header"), POLL).toMatch(/running/);
    expect(await text("header")).toContain((await snapshot()).snapshot.run.target);
    expect(await page.title()).toMatch(/^running: https?:/);
  });

  it("leads with figures that grow", async () => {
    await expect.poll(() => figure("ips"), POLL).toBeGreaterThan(0);
    const before = await figure("requests");
    await expect.poll(() => figure("requests"), POLL).toBeGreaterThan(before);
    await expect.poll(() => figure("issued"), POLL).toBeGreaterThan(0);
    await expect.poll(() => figure("running"), POLL).toBe(WORKERS);
    await expect.poll(() => text('[data-figure="issuance"]'), POLL).toMatch(/\d.*s$/);
    await expect.poll(() => text('[data-figure="verdict"]'), POLL).toBe("✓ 3 of 3");
  });

  it.each(CHARTS.map((chart) => chart.id))("draws %s from the server's seconds", async (id) => {
    await expect.poll(() => points(id), POLL).toBeGreaterThan(5);
    const before = await points(id);
    await expect.poll(() => points(id), POLL).toBeGreaterThan(before);
  });

  it("draws lines that can be seen", async () => {
    await expect.poll(() => opened.pixels("throughput", "--requests"), POLL).toBeGreaterThan(100);
    await expect.poll(() => opened.pixels("response-time", "--chain-certificate"), POLL).toBeGreaterThan(20);
  });

  it("has a table behind each chart", async () => {
    const chart = page.locator("article", { has: page.locator('[data-chart="throughput"]') });
    await chart.getByRole("button", { name: "Figures of Throughput as a table" }).click();
    await expect.poll(() => chart.locator("tbody tr").count(), POLL).toBeGreaterThan(3);
    await chart.getByRole("button", { name: "Figures of Throughput as a table" }).click();
  });

  it("saves a chart as a picture", async () => {
    const loading = page.waitForEvent("download");
    await page.getByRole("button", { name: "PNG of Throughput" }).click();
    const file = await loading;
    expect(file.suggestedFilename()).toBe("throughput.png");
    const [width, height] = await readFile(await file.path()).then((png) => [png.readUInt32BE(16), png.readUInt32BE(20)]);
    expect(width).toBeGreaterThan(500);
    expect(height).toBeGreaterThan(200);
  });

  it("shows how the thresholds stand, with value and limit", async () => {
    await expect.poll(() => page.locator('#thresholds [data-threshold="passed"]').count(), POLL).toBe(3);
    expect(await text("#thresholds h2")).toMatch(/all hold/);
    expect(await text("#thresholds tbody tr:nth-child(2)")).toMatch(/holds\s+chain\.certificate\{count\} < 1000000000\s+[\d\u202f]+\s+1.000.000.000/);
  });

  it("says how much of the run is left", async () => {
    expect(await text('[data-figure="left"]')).toMatch(/^1\d:\d\d$/);
  });

  it("says whether the load tester keeps up, with the figures", async () => {
    const standing = () => page.locator("[data-generator]").getAttribute("data-generator");
    await expect.poll(standing, POLL).toMatch(/fine|was|is/);
    expect(await text('[data-generator-figure="lag"]')).toMatch(/\d.*s$/);
    expect(await text('[data-generator-figure="backlog"]')).toMatch(/%$/);
  });

  it("keeps still while its figures change", async () => {
    const parts = ['[data-figure="ips"]', '[data-figure="verdict"]', '[data-chart="errors"]', "#worst-failures"];
    const places = () => page.evaluate((parts) => parts.map((part) => document.querySelector(part)?.getBoundingClientRect().toJSON()), parts);
    const position = async () => (await places()).map(({ x, y }: DOMRect) => [x, y]);
    // A chart of failed classes appears with the first failed chain, once.
    const drawn = () => page.locator("[data-chart]").count();
    for (;;) {
      const [charts, before] = [await drawn(), await position()];
      const requests = await figure("requests");
      await expect.poll(() => figure("requests"), POLL).toBeGreaterThan(requests + 50);
      const after = await position();
      if ((await drawn()) !== charts) continue;
      expect(after).toEqual(before);
      break;
    }
  });

  it.each([
    [1920, "light"],
    [1440, "dark"],
    [768, "light"],
    [390, "dark"],
  ] as const)("fits a window %s wide, %s, on every tab", async (width, colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 900 });
    for (const { label } of TABS) {
      await opened.tab(label);
      await expect.poll(() => opened.beyond(), { ...POLL, message: label }).toBe(0);
      expect(await opened.smallTargets(), label).toEqual([]);
    }
    await opened.tab("Overview");
    await expect.poll(() => opened.pixels("throughput", "--requests"), POLL).toBeGreaterThan(100);
  });

  it.each(["light", "dark"] as const)("has no violations that axe finds on any tab, %s", async (colorScheme) => {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width: 1280, height: 900 });
    for (const { label } of TABS) {
      await opened.tab(label);
      await expect.poll(() => page.locator("#main").innerText(), { ...POLL, message: label }).not.toBe("");
      // On a busy machine an event may be late for a moment, and the page is faint.
      await expect.poll(() => opened.violations(), { ...POLL, message: label }).toEqual([]);
    }
    await opened.tab("Overview");
  });

  it("explains each heading and figure of every tab, by keyboard", async () => {
    for (const { label } of TABS) {
      await opened.tab(label);
      await expect.poll(() => page.locator("#main").innerText(), { ...POLL, message: label }).not.toBe("");
      expect(await opened.unexplained(), label).toEqual([]);
    }
    await opened.tab("Statistics");
    await page.locator('[data-help="statistics"]').click();
    await expect.poll(() => page.locator("[popover]:popover-open").innerText(), POLL).toMatch(/Source: /);
    expect(await opened.violations()).toEqual([]);
    await page.keyboard.press("Escape");
    await opened.tab("Overview");
  });

  it("has the chosen tab in view also where the others have no room", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.goto(new URL("?tab=log", wires.url).href);
    const chosen = page.locator("nav [aria-current]");
    await expect.poll(() => chosen.innerText(), POLL).toMatch(/^Log/);
    await expect.poll(async () => (await snapshot()).snapshot.failures.length === 0 || (await page.locator("nav .number.bad:not(.zero)").count()) > 0, POLL).toBe(true);
    const box = (await chosen.boundingBox()) ?? expect.fail("no tab");
    expect(box.x).toBeGreaterThanOrEqual(0);
    expect(box.x + box.width).toBeLessThanOrEqual(390);
    await page.setViewportSize({ width: 1440, height: 900 });
    await opened.tab("Overview");
  });

  it("switches its theme by hand, and keeps it", async () => {
    await page.emulateMedia({ colorScheme: "light" });
    const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const light = await ground();
    const button = page.getByRole("button", { name: /^Theme/ });
    await button.click();
    await button.click();
    await expect.poll(ground, POLL).not.toBe(light);
    await page.reload();
    await expect.poll(ground, POLL).not.toBe(light);
    await button.click();
    await expect.poll(ground, POLL).toBe(light);
    // Changed where no chart is shown: the next chart has the colours of the new theme.
    await opened.tab("Runs");
    await page.emulateMedia({ colorScheme: "dark" });
    await opened.tab("Overview");
    await expect.poll(() => opened.pixels("throughput", "--requests"), POLL).toBeGreaterThan(100);
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1440, height: 900 });
  });

  it("follows its links by history and keyboard", async () => {
    const link = page.getByRole("link", { name: "Statistics", exact: true });
    await link.focus();
    await page.keyboard.press("Enter");
    await expect.poll(() => new URL(page.url()).search, POLL).toBe("?tab=statistics");
    expect(await link.evaluate((link) => link === document.activeElement)).toBe(true);
    await page.goBack();
    await expect.poll(() => points("throughput"), POLL).toBeGreaterThan(5);
    await page.goForward();
    await expect.poll(() => page.locator("#statistics").count(), POLL).toBe(1);
  });
});

describe("the statistics", () => {
  it("have chains and endpoints in groups", async () => {
    await opened.tab("Statistics");
    for (const [n, chain] of CHAINS.filter((chain) => DEFAULT_WEIGHTS[chain] > 0).entries()) expect(await text(`#group-chain tr:nth-child(${n + 2}) th a`)).toBe(chain);
    await expect.poll(() => opened.number('#statistics tr[data-row="chain certificate"] td:nth-child(2)'), POLL).toBeGreaterThan(0);
    for (const endpoint of ["newNonce", "newAccount", "newOrder", "finalize", "certificate"]) {
      await expect.poll(() => page.locator("#group-endpoint th", { hasText: endpoint }).count(), POLL).toBeGreaterThan(0);
    }
    await expect.poll(() => row("chain certificate").locator(".between").first().innerText(), POLL).toMatch(/^\d+(\.\d+)?–\d+(\.\d+)?$/);
  });

  it("are filtered and sorted", async () => {
    await page.getByLabel("Filter the rows").fill("POST finalize");
    await expect.poll(() => page.locator("#statistics tr[data-row]").count(), POLL).toBe(1);
    await page.getByLabel("Filter the rows").fill("");
    await page.getByRole("columnheader", { name: "count" }).getByRole("button").click();
    const counts = () => page.locator("#group-endpoint tr[data-row] td:nth-child(2)").allInnerTexts();
    await expect
      .poll(async () => {
        const numbers = (await counts()).map((count) => Number(count.replace(/\D/g, "")));
        return numbers.length > 3 && numbers.every((number, n) => n === 0 || (numbers[n - 1] ?? 0) >= number);
      }, POLL)
      .toBe(true);
    expect(await page.getByRole("columnheader", { name: "count" }).getAttribute("aria-sort")).toBe("descending");
  });

  it("open a row, whose address shows it again", async () => {
    await row("chain certificate").getByRole("link").click();
    await expect.poll(() => text("#details h2"), POLL).toMatch(/^certificate/);
    await page.reload();
    await expect.poll(() => text("#details h2"), POLL).toMatch(/^certificate/);
    await expect.poll(() => page.locator("#histogram rect").count(), POLL).toBeGreaterThan(3);
    await expect.poll(() => page.locator("#heat-map [role=img]").getAttribute("aria-label"), POLL).toMatch(/^Heat map: response times from/);
    await expect.poll(() => page.locator("#examples tbody tr").count(), POLL).toBe(3);
    await page.getByRole("button", { name: "The histogram as a table" }).click();
    expect(await text("#histogram tbody tr:last-child td:last-child")).toMatch(/^100/);
    expect(await opened.violations()).toEqual([]);
    await page.locator("#details").getByRole("link", { name: "Close" }).click();
    await expect.poll(() => page.locator("#details").count(), POLL).toBe(0);
    await expect.poll(() => page.evaluate(() => document.activeElement?.textContent), POLL).toBe("certificate");
  });

  it("open an endpoint, with its heat map and its slowest requests", async () => {
    await page.locator("#group-endpoint tr[data-row]", { hasText: "finalize" }).first().getByRole("link").click();
    await expect.poll(() => text("#details h2"), POLL).toMatch(/^finalize/);
    await expect.poll(() => page.locator("#heat-map [role=img]").count(), POLL).toBe(1);
    await expect.poll(() => text("#examples tbody tr:first-child"), POLL).toMatch(/^\d\d:\d\d:\d\d\s+\d[\s\S]*\s200\s+(certificate|refresh)/);
    await page.locator("#details").getByRole("link", { name: "Close" }).click();
  });

  it("have a row for the node, and the distribution is that of its requests", async () => {
    const { snapshot: before } = await snapshot();
    const [node] = before.nodes;
    await expect.poll(() => page.locator("#group-node tr[data-row]").count(), POLL).toBe(1);
    const view = JSON.parse(await get(`runs/current/distribution?row=${encodeURIComponent(`node ${node?.node}`)}`)) as DistributionView;
    const sum = view.cells.reduce((sum, { count }) => sum + count, 0);
    // The server keeps a snapshot for a moment: the next one is of a later time than the distribution.
    const { snapshot: kept } = await snapshot();
    let after = kept;
    await expect.poll(async () => (after = (await snapshot()).snapshot).requests, POLL).not.toBe(kept.requests);
    expect(sum).toBeGreaterThanOrEqual(before.requests - before.requests_failed);
    expect(sum).toBeLessThanOrEqual(after.requests - after.requests_failed);
    await opened.tab("Overview");
  });

  it.each(["Overview", "Statistics", "Failures", "State"] as const)("of %s print on two pages", async (label) => {
    await opened.tab(label);
    await expect.poll(() => page.locator("#main .panel").count(), POLL).toBeGreaterThan(0);
    expect(await opened.printed()).toBeLessThanOrEqual(2);
    await opened.tab("Overview");
  });
});

describe("a part of the run", () => {
  it("is chosen by dragging, stands in the address, and its figures are those of the server", async () => {
    await expect.poll(() => points("throughput"), POLL).toBeGreaterThan(30);
    const plot = page.locator('[data-chart="throughput"] .u-over');
    await plot.scrollIntoViewIfNeeded();
    const box = (await plot.boundingBox()) ?? expect.fail("no plot");
    const [left, right, y] = [box.x + box.width * 0.25, box.x + box.width * 0.6, box.y + box.height / 2];
    await page.mouse.move(left, y);
    await page.mouse.down();
    await page.mouse.move((left + right) / 2, y);
    await page.mouse.move(right, y);
    await page.mouse.up();
    await expect.poll(() => new URL(page.url()).search, POLL).toMatch(/from=[\d.]+&to=[\d.]+/);
    await expect.poll(() => page.locator("[data-part]").getAttribute("data-part"), POLL).toBe("part");

    await opened.tab("Statistics");
    const query = new URL(page.url()).searchParams;
    const [from, to] = [Number(query.get("from")), Number(query.get("to"))].map((seconds) => Math.round(seconds * 1e9));
    const { id } = (await snapshot()).snapshot.run;
    const part = JSON.parse(await get(`runs/${id}/window?from_ns=${from}&to_ns=${to}`)) as WindowView;
    expect(part.snapshot.requests).toBeGreaterThan(0);
    expect(part.snapshot.requests).toBeLessThan((await snapshot()).snapshot.requests);
    const shown = () => row("all requests").locator("td").nth(0).innerText();
    await expect.poll(async () => Number((await shown()).replace(/\D/g, "")), POLL).toBe(part.snapshot.requests);
    const certificates = row("chain certificate").locator("td").nth(0);
    expect(Number((await certificates.innerText()).replace(/\D/g, ""))).toBe(part.snapshot.chains.certificate.count);
    await page.reload();
    await expect.poll(async () => Number((await shown()).replace(/\D/g, "")), POLL).toBe(part.snapshot.requests);
  });

  it("is left by a double click", async () => {
    await opened.tab("Overview");
    await page.locator('[data-chart="throughput"] .u-over').dblclick();
    await expect.poll(() => page.locator("[data-part]").getAttribute("data-part"), POLL).toBe("whole");
  });

  it("is chosen by keyboard", async () => {
    await page.getByText("part…").press("Enter");
    await page.getByLabel("from", { exact: true }).fill("2");
    await page.getByLabel("to", { exact: true }).fill("7");
    await page.getByLabel("to", { exact: true }).press("Enter");
    await expect.poll(() => new URL(page.url()).search, POLL).toBe("?from=2&to=7");
    await page.getByRole("button", { name: "whole run" }).click();
    await expect.poll(() => new URL(page.url()).search, POLL).toBe("?last=run");
    await page.getByRole("button", { name: "2 min" }).click();
  });

  it("of the latest seconds moves with the run, and so do its tables", async () => {
    await page.goto(new URL("?tab=statistics&last=20", wires.url).href);
    await expect.poll(() => page.locator("[data-part]").getAttribute("data-part"), POLL).toBe("part");
    const until = async () => /last 0:20, until (\d\d:\d\d:\d\d)/.exec(await text("[data-part] [role=status]"))?.[1] ?? "";
    const before = await until();
    expect(before).not.toBe("");
    const shown = Number((await row("all requests").locator("td").nth(0).innerText()).replace(/\D/g, ""));
    expect(shown).toBeGreaterThan(0);
    expect(shown).toBeLessThan((await snapshot()).snapshot.requests);
    await expect.poll(until, POLL).not.toBe(before);
    await opened.tab("Overview");
    // The charts have the latest of the run, not only what was fetched.
    await expect.poll(() => points("throughput"), POLL).toBeGreaterThan(15);
    await page.getByRole("button", { name: "2 min" }).click();
  });
});

describe("steering", () => {
  it("changes the number of workers, which the run follows", async () => {
    const field = page.getByLabel("Workers", { exact: true });
    for (const wanted of [50, 200, 20]) {
      await field.press("Control+a");
      await field.press("Delete");
      await field.pressSequentially(String(wanted));
      await field.press("Enter");
      await expect.poll(() => figure("target"), POLL).toBe(wanted);
      await expect.poll(() => figure("running"), POLL).toBe(wanted);
    }
    await page.getByRole("button", { name: "Subtract 1 from the workers", exact: true }).click();
    await expect.poll(() => figure("running"), POLL).toBe(19);

    const now = await snapshot();
    expect(now.session?.workers_target).toBe(19);
    expect(now.session?.workers_running).toBe(19);
    const changes = now.snapshot.marks.filter(({ what }) => what === "workers");
    expect(changes.slice(-3).map(({ by, from, to }) => [by, from, to])).toEqual([
      ["page", "50", "200"],
      ["page", "200", "20"],
      ["page", "20", "19"],
    ]);
    await expect.poll(() => text("#changes tbody tr:first-child"), POLL).toMatch(/a page\s+workers 20 → 19/);
  });

  it("changes weights and limits, and shows what the board has of them", async () => {
    await page.getByRole("button", { name: "Weights, limits" }).click();
    const weights = page.locator('[data-values="Weights of chains"]');
    await weights.locator("summary").first().click();
    await weights.getByLabel("revoke").fill("0");
    await weights.getByRole("button", { name: "Apply" }).click();
    await expect.poll(() => weights.locator("summary").first().innerText(), POLL).toMatch(/revoke 0/);
    const limits = page.locator('[data-values="Limits"]');
    await limits.locator("summary").click();
    await limits.getByLabel("registrations").fill("100000");
    await limits.getByLabel("registrations").press("Enter");
    await expect.poll(() => limits.locator("summary").innerText(), POLL).toMatch(/registrations 100.000/);
    const { session } = await snapshot();
    expect(session?.scenarios["default"]?.weights.revoke).toBe(0);
    expect(session?.limits).toEqual({ registrations: 100_000, authorizations: null, certificates: null });
    expect(await opened.violations()).toEqual([]);
    await limits.getByLabel("registrations").fill("");
    await limits.getByLabel("registrations").press("Enter");
    await expect.poll(async () => (await snapshot()).session?.limits.registrations, POLL).toBeNull();
    await page.getByRole("button", { name: "Close" }).click();
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
    const plot = page.locator('[data-chart="throughput"]');
    await expect
      .poll(async () => {
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
    expected("409");
  });
});

describe("the other tabs", () => {
  it("show the state store, validations, nonces and the plan", async () => {
    await opened.tab("State");
    await expect.poll(() => opened.number('[data-count="certificates"]'), POLL).toBeGreaterThan(0);
    await expect.poll(() => points("state"), POLL).toBeGreaterThan(5);
    expect(await text('[aria-labelledby="state-title"] .legend')).toMatch(/certificates\s+[\d\u202f]+/);
    await opened.tab("Validation");
    await expect.poll(() => points("validations"), POLL).toBeGreaterThan(5);
    await expect.poll(() => text("#hit-sources tbody"), POLL).toMatch(/127\.0\.0\.1\s+[\d\u202f]+/);
    await expect.poll(() => text("#validations tbody"), POLL).toMatch(/answered/);
    await expect.poll(() => text("#whole-validations tbody"), POLL).toMatch(/http-01|tls-alpn-01/);
    await opened.tab("Nonces and connections");
    await expect.poll(() => text('[data-count="nonces"]'), POLL).toMatch(/%/);
    await expect.poll(() => page.locator("#phases tbody tr").count(), POLL).toBeGreaterThan(5);
    await opened.tab("Capacity");
    expect(await text("#main")).toMatch(/not a capacity search/);
    await opened.tab("Log");
    await page.locator("#plan summary").click();
    expect(await text("#plan pre")).toMatch(/"executor": "workers"/);
  });

  it("list the nodes, and a machine can be expected and forgotten", async () => {
    await opened.tab("Nodes");
    await expect.poll(() => page.locator('#processes [data-process="requester"]').count(), POLL).toBe(1);
    expect(await text('#processes [data-process="requester"]')).toMatch(/\d+\.\d+\.\d+[\s\S]*100\s%[\s\S]*\d\s(µs|ms|s)\s/);
    await page.getByLabel("Name of a machine that is expected").fill("bench-9");
    await page.getByRole("button", { name: "Expect it" }).click();
    await expect.poll(() => text('[data-agent="bench-9"]'), POLL).toMatch(/expected/);
    await page.getByRole("button", { name: "Deactivate bench-9" }).click();
    await expect.poll(() => page.getByRole("button", { name: "Activate bench-9", exact: true }).count(), POLL).toBe(1);
    await page.getByRole("button", { name: "Forget bench-9" }).click();
    await expect.poll(() => page.locator('[data-agent="bench-9"]').count(), POLL).toBe(0);
    // The button is gone; the focus is where it was.
    await expect.poll(() => page.evaluate(() => document.activeElement?.closest("#agents")?.id), POLL).toBe("agents");
  });

  it("make a session from a scenario, which the server checks while it is typed", async () => {
    await opened.tab("Sessions");
    await page.getByRole("button", { name: "New session…" }).click();
    const state = () => page.locator("[data-check]").getAttribute("data-check");
    await expect.poll(state, POLL).toBe("right");
    const editor = page.getByLabel("scenario, in TOML");
    await editor.fill('directory = "https://localhost:14000/dir"\nworkers = "many"\nstate = "sqlite://a"\n');
    await expect.poll(state, POLL).toBe("wrong");
    expect(await text("[data-check]")).toMatch(/state: belongs to[\s\S]*workers: "many"/);
    await page.getByLabel("example").selectOption("a rate of issuances");
    await expect.poll(state, POLL).toBe("right");
    const rate = page.getByLabel("rate", { exact: true });
    await expect.poll(() => rate.inputValue(), POLL).toMatch(/^20/);
    await rate.fill("20/min");
    await rate.press("Tab");
    await expect.poll(() => editor.inputValue(), POLL).toMatch(/^rate = "20\/min"$/m);
    await expect.poll(state, POLL).toBe("right");
    await page.getByLabel("refresh", { exact: true }).fill("often");
    await page.getByLabel("refresh", { exact: true }).press("Tab");
    await expect.poll(state, POLL).toBe("wrong");
    await page.getByLabel("refresh", { exact: true }).fill("4");
    await page.getByLabel("refresh", { exact: true }).press("Tab");
    await expect.poll(state, POLL).toBe("right");
    expect(await opened.violations()).toEqual([]);
    await page.getByLabel("id", { exact: true }).fill("night");
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await expect.poll(() => page.locator('[data-session="night"]').getAttribute("data-state"), POLL).toBe("ready");
    await expect.poll(() => text("#session-keys"), POLL).toMatch(/rate\s+20\/min/);

    await page.getByRole("button", { name: "Clone night", exact: true }).click();
    await expect.poll(() => page.locator('[data-session="night-2"]').count(), POLL).toBe(1);
    await page.getByRole("button", { name: "Delete night-2…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await expect.poll(() => page.locator('[data-session="night-2"]').count(), POLL).toBe(0);
    // Its board is in its memory: no agent can come. sessions.test.ts starts one on an agent.
    expect(await page.getByRole("button", { name: "Start night", exact: true }).isDisabled()).toBe(true);
  });

  it("list the runs, lead to each, compare two, and say when the list cannot be had", async () => {
    // An ended run: a copy of this run's log with another id and a start an hour earlier, short enough to be read by the list.
    const { log } = (await snapshot()).health;
    const [first = "", ...records] = (await readFile(join(demo.folder, log), "utf8")).split("\n").slice(0, -1).slice(0, 5_000);
    const header = JSON.parse(first) as Record<string, unknown> & { started_unix_ns: number };
    const earlier = { ...header, run: "earlier", started_unix_ns: header.started_unix_ns - 3_600e9 };
    const copy = [JSON.stringify(earlier), ...records].join("\n");
    await writeFile(join(demo.folder, dirname(log), "earlier.jsonl"), `${copy}\n`);

    await opened.tab("Runs");
    await expect.poll(() => page.locator("#runs tbody tr").count(), POLL).toBe(2);
    const rows = () => page.locator("#runs tbody tr").evaluateAll((rows) => rows.map((row) => row.getAttribute("data-standing")));
    // The copy has no end, and so no verdict.
    await expect.poll(rows, POLL).toEqual(["live", "undecided"]);
    expect(await text("#runs tbody tr:nth-child(2)")).toMatch(/earlier\s+https:/);

    for (const box of await page.getByRole("checkbox", { name: /^Compare/ }).all()) await box.check();
    await expect.poll(() => page.locator('[data-compare="all requests failed"]').innerText(), POLL).toMatch(/%.*pp/s);
    expect(await text("#compare-attention")).toMatch(/goes on: its figures are those so far/);
    expect(await opened.violations()).toEqual([]);
    await page.getByRole("button", { name: "Close" }).click();

    await page.route("**/api/v1/runs", (route) =>
      route.fulfill({ status: 503, contentType: "application/json", body: '{"error":"the disk is gone"}' }),
    );
    await expect.poll(() => page.getByRole("alert").innerText(), POLL).toMatch(/could not be fetched:\s+the disk is gone/);
    expect(await page.locator("#runs tbody tr").count()).toBe(2);
    await page.unroute("**/api/v1/runs");
    await page.route("**/api/v1/runs", (route) => route.fulfill({ contentType: "application/json", body: '{"runs":[]}' }));
    await expect.poll(() => text("#main"), POLL).toMatch(/^No runs yet/);
    await page.unroute("**/api/v1/runs");
    expected("503");

    await page.getByRole("link", { name: "earlier", exact: true }).click();
    await expect.poll(() => text("header"), POLL).toMatch(/finished/);
    expect(new URL(page.url()).search).toBe("?run=earlier");
    expect(await text("[aria-live]")).toMatch(/The run is over.*final figures, of \d{4}-\d\d-\d\d/);
    expect(await figure("requests")).toBeGreaterThan(0);
    expect(await page.getByRole("button", { name: "Pause" }).count()).toBe(0);

    await page.getByRole("link", { name: "Current run" }).click();
    await expect.poll(() => text("header"), POLL).toMatch(/running/);
    await expect.poll(() => points("throughput"), POLL).toBeGreaterThan(5);
  });

  it("have given the browser nothing to complain about", () => {
    expect(opened.complaints).toEqual([]);
  });
});

describe("the connection and the end", () => {
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
    await page.getByRole("button", { name: "whole run" }).click();
    await expect.poll(() => points("throughput"), POLL).toBeGreaterThan(before + 2);
    const lacks = async () => (await snapshot()).series.at_unix_s.length - (await points("throughput"));
    await expect.poll(lacks, { ...POLL, message: "buckets that the page lacks" }).toBeLessThanOrEqual(3);
  });

  it("stops the run when told so twice, and shows the final figures", async () => {
    await page.getByRole("button", { name: "Stop…" }).click();
    await page.getByRole("button", { name: "Stop the run" }).click();
    await expect.poll(() => text("header"), POLL).toMatch(/finished/);
    expect(await text("[aria-live]")).toMatch(/The run is over/);
    expect(await page.locator(".banner").count(), "the end covers nothing").toBe(0);
    expect(await figure("requests")).toBeGreaterThan(0);
    expect(await demo.ended).toBe(0);
  });
});
