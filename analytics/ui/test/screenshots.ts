// `npm run screenshots`: every tab, light and dark, at two widths, from a real run against a CA that fails now and then,
// and the steps of a real search. Names of tabs after it select those.
// Writes docs/images/page-TAB-WIDTH-THEME.png.

import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

import { TABS } from "../src/address";
import { Opened } from "./browser";
import { startSearch, startValidating } from "./demo";
import { withPalette } from "./png";

const FOLDER = process.env["OUT"] ?? resolve(import.meta.dirname, "../../../docs/images");
const SIZES = [
  { width: 1280, height: 800 },
  { width: 390, height: 844 },
];
/** The run has grown so far before the first picture, seconds. */
const BEFORE_S = 75;
/** The longest time of the search. */
const SEARCH_MS = 600_000;

type Tabs = readonly (typeof TABS)[number][];

/** Photographs these tabs of a page in each size and theme. */
async function photograph(opened: Opened, tabs: Tabs): Promise<void> {
  const { page } = opened;
  for (const { width, height } of SIZES) {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      for (const { id, label } of tabs) {
        await opened.tab(label);
        await page.mouse.move(0, 0);
        await page.waitForTimeout(1_200);
        const picture = withPalette(await page.screenshot());
        const name = `page-${id}-${width}-${colorScheme}.png`;
        await writeFile(join(FOLDER, name), picture);
        console.log(`${String(picture.length).padStart(8)} bytes  ${name}`);
      }
    }
  }
}

/** A run, of which workers change twice before the pictures. */
async function ofRun(tabs: Tabs): Promise<void> {
  const { ca, run } = await startValidating(600);
  const opened = await Opened.at(run.page.href);
  const { page } = opened;
  try {
    for (const workers of [12, 9, 9]) {
      await page.waitForTimeout((BEFORE_S / 3) * 1000);
      await page.request.patch(new URL("api/v1/sessions/current/scenarios/default", run.page).href, { data: { workers } });
    }
    await photograph(opened, tabs);
  } finally {
    await opened.close();
    await run.end();
    await ca.end();
  }
}

/** A search that is over. */
async function ofSearch(tabs: Tabs): Promise<void> {
  const { ca, run } = await startSearch();
  const opened = await Opened.at(run.page.href);
  try {
    await opened.tab("Capacity");
    await opened.page.locator('[data-capacity="over"]').waitFor({ timeout: SEARCH_MS });
    await opened.page.locator("header .state", { hasText: "finished" }).waitFor();
    await photograph(opened, tabs);
  } finally {
    await opened.close();
    await run.end();
    await ca.end();
  }
}

await mkdir(FOLDER, { recursive: true });
const named = process.argv.slice(2);
const wanted = TABS.filter(({ id }) => named.length === 0 || named.includes(id));
const [search, run] = [wanted.filter(({ id }) => id === "capacity"), wanted.filter(({ id }) => id !== "capacity")];
if (run.length > 0) await ofRun(run);
if (search.length > 0) await ofSearch(search);
