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
    await setWorkers(runner, 9);
    const control = runner.page.locator('[data-control="workers"]');
    await expect.poll(() => control.getByRole("status").innerText(), POLL).toMatch(/road-runner has only the right to look/);
    expect(await runner.figure("target")).toBe(5);
    // The browser reports the refused request as an error.
    expect(runner.complaints.splice(0).filter((complaint) => !complaint.includes("403"))).toEqual([]);
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
