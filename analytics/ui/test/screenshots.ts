// `npm run screenshots`: every tab, light and dark, at two widths, from a real run against a CA that fails now and then.
// Writes docs/images/page-TAB-WIDTH-THEME.png.

import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

import { TABS } from "../src/address";
import { Opened } from "./browser";
import { startFailing } from "./demo";
import { withPalette } from "./png";

const FOLDER = resolve(import.meta.dirname, "../../../docs/images");
const SIZES = [
  { width: 1280, height: 800 },
  { width: 390, height: 844 },
];
/** The run has grown so far before the first picture, seconds. */
const BEFORE_S = 75;

const { ca, run } = await startFailing(600);
const opened = await Opened.at(run.page.href);
const { page } = opened;
try {
  const steer = (workers: number) =>
    page.request.patch(new URL("api/v1/sessions/current/scenarios/default", run.page).href, { data: { workers } });
  await page.waitForTimeout((BEFORE_S / 3) * 1000);
  await steer(12);
  await page.waitForTimeout((BEFORE_S / 3) * 1000);
  await steer(9);
  await page.waitForTimeout((BEFORE_S / 3) * 1000);
  await mkdir(FOLDER, { recursive: true });
  for (const { width, height } of SIZES) {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      for (const { id, label } of TABS) {
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
} finally {
  await opened.close();
  await run.end();
  await ca.end();
}
