// Two people at one run: what one changes, the other sees with the name; who may only look changes nothing.

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { Opened, POLL } from "./browser";
import { startShared, type Shared } from "./demo";

const TOKENS = "wile:steer:rocket-skates\nroad-runner:look:meep-meep\n";

let shared: Shared;
let wile: Opened;
let runner: Opened;

beforeAll(async () => {
  shared = await startShared(TOKENS, "rocket-skates");
  wile = await Opened.at(new URL("?token=rocket-skates", shared.page).href);
  runner = await Opened.at(new URL("?token=meep-meep", shared.page).href);
});

afterAll(async () => {
  await wile?.close();
  await runner?.close();
  await shared?.end();
});

async function setWorkers({ page }: Opened, workers: number): Promise<void> {
  const field = page.getByLabel("Workers", { exact: true });
  await field.press("Control+a");
  await field.pressSequentially(String(workers));
  await field.press("Enter");
}

describe("two people at one run", () => {
  it("see it by their tokens", async () => {
    for (const opened of [wile, runner]) {
      expect(new URL(opened.page.url()).search).toBe("");
      await expect.poll(() => opened.text("header"), POLL).toMatch(/running/);
      await expect.poll(() => opened.figure("running"), POLL).toBe(3);
    }
  });

  it("see who changed what", async () => {
    await setWorkers(wile, 5);
    await expect.poll(() => runner.figure("running"), POLL).toBe(5);
    await expect.poll(() => runner.text(".steer .last"), POLL).toMatch(/workers 3 → 5 by wile, by a page/);
    await expect.poll(() => runner.text("#changes tbody"), POLL).toMatch(/wile, by a page\s+workers 3 → 5/);
  });

  it("change nothing with a token that may only look", async () => {
    const { page } = runner;
    await expect.poll(() => runner.text("header"), POLL).toMatch(/has only the right to look/);
    for (const control of [page.getByLabel("Workers", { exact: true }), page.getByRole("button", { name: "Pause" }), page.getByRole("button", { name: "Stop…" })]) expect(await control.isDisabled()).toBe(true);
    expect(await wile.page.getByRole("button", { name: "Pause" }).isDisabled()).toBe(false);
    await runner.tab("Sessions");
    expect(await page.getByRole("button", { name: "New session…" }).isDisabled()).toBe(true);
    expect(await runner.violations()).toEqual([]);
    const refused = await page.request.patch(new URL("api/v1/sessions/current/scenarios/default", shared.page).href, { data: { workers: 9 } });
    expect([refused.status(), await refused.text()]).toEqual([403, expect.stringMatching(/road-runner has only the right to look/)]);
    await runner.tab("Overview");
    expect(await runner.figure("target")).toBe(5);
  });

  it("see the machines of all processes, each second", async () => {
    await runner.tab("Nodes");
    const requester = runner.page.locator('#processes [data-process="requester"]');
    await expect.poll(() => requester.innerText(), POLL).toMatch(/\d\s%\s[\s\S]*iB, \d/);
    await runner.tab("State");
    await expect.poll(() => runner.page.locator('[data-count="claimed"]').innerText(), POLL).toMatch(/^\d+$/);
  });

  it("have given the browser nothing to complain about", () => {
    expect([...wile.complaints, ...runner.complaints]).toEqual([]);
  });
});
