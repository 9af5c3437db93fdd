// A run that is started from the page, on a real agent; and a page whose sessions no agent can take.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { Opened, POLL } from "./browser";
import { startJoinable, startServe, type Demo, type Joinable } from "./demo";

let bed: Joinable;
let opened: Opened;
let page: Opened["page"];

beforeAll(async () => {
  bed = await startJoinable();
  opened = await Opened.at(new URL("?tab=sessions", bed.page).href);
  page = opened.page;
});

afterAll(async () => {
  await opened?.close();
  await bed?.end();
});

const state = () => page.locator('[data-session="night"]').getAttribute("data-state");

async function createAndStart(): Promise<void> {
  await page.getByRole("button", { name: "New session…" }).click();
  await page.getByLabel("scenario, in TOML").fill(`directory = "${bed?.directory ?? "https://localhost:14000/dir"}"\nworkers = 2\nrun_time = "5m"\n`);
  await page.getByLabel("id", { exact: true }).fill("night");
  await expect.poll(() => page.locator("[data-check]").getAttribute("data-check"), POLL).toBe("right");
}

describe("a session that is started before its agent", () => {
  it("waits for one, and shows how to start it", async () => {
    await createAndStart();
    await page.getByRole("button", { name: "Create and start" }).click();
    await expect.poll(state, POLL).toBe("waiting");
    await expect.poll(() => opened.text("#session-parts"), POLL).toMatch(/no live agent is meant for it \(all agents\)/);
    expect(await opened.text("#agent-command")).toMatch(/^wec agent --board sqlite:\/\/\/.*board\.db --analytics http:\/\/127\.0\.0\.1:\d+$/);
    expect(await opened.violations()).toEqual([]);
  });

  it("is run by the agent that this command starts, and its requests are on the page", async () => {
    await bed.join(await opened.text("#agent-command"));
    await expect.poll(state, POLL).toBe("running");
    await expect.poll(() => opened.text("#session-parts"), POLL).toMatch(/a1\s+test running/);
    await page.locator('[data-session="night"]').getByTitle("The latest run").click();
    await expect.poll(() => opened.figure("requests").catch(() => 0), POLL).toBeGreaterThan(0);
    await expect.poll(() => opened.text("header"), POLL).toMatch(/running/);
    await opened.tab("Sessions");
    await page.getByRole("button", { name: "Stop night…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Stop at once" }).click();
    await expect.poll(state, POLL).toMatch(/stopped|aborted/);
  });
});

describe("a page whose process has the board in its memory", () => {
  let folder: string;
  let served: Demo;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wec-page-runs-"));
    served = await startServe(folder);
    await page.goto(new URL("?tab=sessions", served.page).href);
  });

  afterAll(async () => {
    await served?.end();
    await rm(folder, { recursive: true, force: true });
  });

  it("says so, and starts nothing", async () => {
    await expect.poll(() => opened.text("#no-agent"), POLL).toMatch(/^No agent can join.*wec analytics --board/);
    await createAndStart();
    expect(await page.getByRole("button", { name: "Create and start" }).isDisabled()).toBe(true);
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await expect.poll(state, POLL).toBe("ready");
    expect(await page.getByRole("button", { name: "Start night", exact: true }).isDisabled()).toBe(true);
    const answer = await page.request.post(new URL("api/v1/sessions/night/start", served.page).href);
    expect([answer.status(), await answer.text()]).toEqual([409, expect.stringMatching(/no agent can join/)]);
    expect(await opened.violations()).toEqual([]);
  });

  it("edits a session that waits, and lists those of a state", async () => {
    await page.getByRole("button", { name: "Edit night…" }).click();
    const toml = page.getByLabel("scenario, in TOML");
    expect(await toml.inputValue()).toContain("workers = 2\n");
    await toml.fill((await toml.inputValue()).replace("workers = 2", "workers = 5"));
    await page.getByLabel("names of agents").fill("a, b");
    await expect.poll(() => page.locator("[data-check]").getAttribute("data-check"), POLL).toBe("right");
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await expect.poll(() => opened.text("#session-keys"), POLL).toMatch(/workers\s+5/);
    expect(await opened.text("#session-parts")).toMatch(/workers 2 → 5/);
    expect(await opened.text('[data-session="night"]')).toMatch(/a, b/);
    await page.getByLabel("state", { exact: true }).selectOption("error");
    await expect.poll(() => opened.text("#sessions"), POLL).toMatch(/No session is error/);
    await page.getByLabel("state", { exact: true }).selectOption("ready");
    await expect.poll(state, POLL).toBe("ready");
    expect(await opened.violations()).toEqual([]);
  });

  it("has given the browser nothing to complain about", () => {
    expect(opened.complaints.filter((complaint) => !complaint.includes("/runs/current/"))).toEqual([]);
  });
});
