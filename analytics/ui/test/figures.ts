// `npm run figures`: how fast the page opens and zooms in the run of a day, its memory, processor time and transfer.
//
// WEC_RESULTS is the number of requests in the day, ten million if not given. An hour at one event a second is shortened
// to events in quick succession: as many events, and as many buckets.

import { createServer, type Server } from "node:http";
import { createWriteStream } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { once } from "node:events";

import { Run } from "../dev/invented-run";
import { Opened, POLL } from "./browser";
import { startDemo, startServe } from "./demo";

const RESULTS = Number(process.env["WEC_RESULTS"] ?? 10_000_000);
const DAY_S = 86_400;
const PATTERN_S = 20;
const DIST = resolve(import.meta.dirname, "../dist");

function print(what: string, measured: string, asked: string, how: string): void {
  console.log(`${what.padEnd(34)} ${measured.padStart(12)}  asked ${asked.padEnd(9)} ${how}`);
}

const middle = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

type Line = Record<string, unknown> & { seq?: number; node?: string };

/** Writes the log of a day: the records of a short real run, again and again. Returns the number of its requests. */
async function writeDay(pattern: string, file: string): Promise<number> {
  const lines = (await readFile(pattern, "utf8")).trimEnd().split("\n").map((line) => JSON.parse(line) as Line);
  const header = lines.find(({ record }) => record === "header") ?? {};
  const records = lines.filter(({ record }) => record !== "header" && record !== "footer" && record !== "event");
  const requests = records.reduce((sum, record) => sum + ((record["individualresults"] as unknown[] | undefined)?.length ?? 0), 0);
  const times = Math.max(1, Math.round(RESULTS / requests));
  const highest = new Map<string, number>();
  for (const { node = "", seq = 0 } of records) highest.set(node, Math.max(highest.get(node) ?? 0, seq));
  const out = createWriteStream(file);
  const write = async (line: Line) => {
    if (!out.write(`${JSON.stringify(line)}\n`)) await once(out, "drain");
  };
  // The run is over, so that it is opened as one that has ended.
  const began = Math.floor(Date.now() / 1000 - DAY_S - 3_600) * 1e9;
  const shift = began - (header["started_unix_ns"] as number);
  await write({ ...header, run: "day", started_unix_ns: began });
  for (let round = 0; round < times; round += 1) {
    const after = shift + Math.floor((round * (DAY_S - PATTERN_S)) / Math.max(1, times - 1)) * 1e9;
    for (const record of records) {
      const line: Line = { ...record };
      for (const key of ["origin_unix_ns", "at_unix_ns"]) if (typeof line[key] === "number") line[key] = (line[key] as number) + after;
      if (line.seq !== undefined) line.seq += round * (highest.get(line.node ?? "") ?? 0);
      await write(line);
    }
  }
  out.end();
  await once(out, "finish");
  return times * requests;
}

/** When the first chart of the page has been drawn, milliseconds after its navigation began. */
const drawn = (page: Opened["page"]) =>
  page
    .waitForFunction(() => (Number(document.querySelector('[data-chart="throughput"]')?.getAttribute("data-points")) > 0 ? performance.now() : 0), undefined, { polling: "raf" })
    .then((handle) => handle.jsonValue() as Promise<number>);

async function day(): Promise<void> {
  const demo = await startDemo(8);
  await new Promise((done) => setTimeout(done, PATTERN_S * 1000));
  const folder = await mkdtemp(join(tmpdir(), "wec-day-"));
  try {
    const [name = ""] = (await readdir(join(demo.folder, "results"))).filter((name) => name.endsWith(".jsonl"));
    const requests = await writeDay(join(demo.folder, "results", name), join(folder, "day.jsonl"));
    await demo.end();
    const made = Date.now();
    const first = await startServe(folder);
    // Reads the whole log once, and writes its index.
    await fetch(new URL("api/v1/runs/day/snapshot", first.page));
    console.log(`a day of ${requests} requests; its index was made in ${((Date.now() - made) / 1000).toFixed(1)} s, once`);
    await first.end();
    // A process that has not opened it before.
    const served = await startServe(folder);
    const opened = await Opened.at(new URL("?tab=runs", served.page).href);
    try {
      const { page } = opened;
      const opens: number[] = [];
      for (let n = 0; n < 5; n += 1) {
        await page.goto(new URL("?run=day", served.page).href);
        opens.push(await drawn(page));
      }
      print("opens, first time", `${Math.round(opens[0] ?? NaN)} ms`, "< 1000 ms", "navigation to the first drawn chart, a day, from its index");
      print("opens, median of 5", `${Math.round(middle(opens))} ms`, "< 1000 ms", "the same");
      const zooms: number[] = [];
      for (const [from, to] of [[0.1, 0.5], [0.2, 0.21], [0.6, 0.9], [0.4, 0.42], [0.05, 0.95]] as const) {
        await page.goto(new URL("?run=day", served.page).href);
        await drawn(page);
        const box = await page.locator('[data-chart="throughput"] .u-over').boundingBox();
        if (box === null) throw new Error("no chart");
        const at = (share: number) => [box.x + box.width * share, box.y + box.height / 2] as const;
        await page.mouse.move(...at(from));
        await page.mouse.down();
        await page.mouse.move(...at((from + to) / 2));
        await page.mouse.move(...at(to));
        await page.evaluate(() => ((window as unknown as { begun: number }).begun = performance.now()));
        await page.mouse.up();
        const took = await page.waitForFunction(() => (document.querySelector('[data-part="part"]') ? performance.now() - (window as unknown as { begun: number }).begun : 0), undefined, { polling: "raf" });
        zooms.push(await took.jsonValue());
      }
      print("zooms, median of 5", `${Math.round(middle(zooms))} ms`, "< 300 ms", "release of the button to charts and tables of the part");
      print("zooms, slowest of 5", `${Math.round(Math.max(...zooms))} ms`, "< 300 ms", "the same");
      const transfer = await page.evaluate(() => {
        const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")] as PerformanceResourceTiming[];
        return all.filter(({ name }) => !name.includes("/api/")).reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0);
      });
      print("transfer when it opens", `${(transfer / 1000).toFixed(1)} kB`, "≤ 120 kB", "as the browser counts it; npm run size has all files");
    } finally {
      await opened.close();
      await served.end();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Serves the built page with an invented run. */
async function startInvented(run: Run): Promise<{ server: Server; url: string }> {
  const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
  const server = createServer((request, response) => {
    const path = request.url?.split("?")[0] ?? "/";
    if (path.startsWith("/api/v1/")) return run.answer(request, response);
    const file = join(DIST, path === "/" ? "index.html" : path);
    readFile(file).then(
      (body) => response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" }).end(body),
      () => response.writeHead(404).end(),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

/** The renderer process of a page: its processor time, seconds, and its memory, bytes. */
async function renderer(opened: Opened): Promise<{ cpu: number; memory: number }> {
  const { processes } = await opened.processes();
  // The page is the busiest renderer: the browser keeps spare ones.
  const [busiest] = processes.filter(({ type }) => type === "renderer").sort((a, b) => b.cpuTime - a.cpuTime);
  if (busiest === undefined) throw new Error("no renderer");
  const rollup = await readFile(`/proc/${busiest.id}/smaps_rollup`, "utf8");
  const own = /^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1];
  return { cpu: busiest.cpuTime, memory: Number(own) * 1024 };
}

async function hour(): Promise<void> {
  const run = new Run({ workers: 20, kinds: 40, nodes: 4 });
  const { server, url } = await startInvented(run);
  const opened = await Opened.at(url);
  try {
    await drawn(opened.page);
    for (let event = 0; event < 3_600; event += 1) {
      run.tick();
      // The page draws each event.
      await new Promise((done) => setTimeout(done, 25));
    }
    const shown = Number(await opened.page.locator('[data-figure="requests"]').innerText().then((text) => text.replace(/\D/g, "")));
    const { memory } = await renderer(opened);
    const heap = await opened.page.evaluate(() => (performance as unknown as { memory: { usedJSHeapSize: number } }).memory.usedJSHeapSize);
    print("memory after an hour's events", `${(memory / 1e6).toFixed(0)} MB`, "< 150 MB", `3,600 events at 40 a second; Pss of the renderer, JavaScript heap ${(heap / 1e6).toFixed(0)} MB; ${shown} requests shown`);
  } finally {
    await opened.close();
    server.close();
  }
}

async function busy(): Promise<void> {
  const SECONDS = 40;
  const run = new Run({ workers: 10_000, kinds: 40, nodes: 4 });
  const { server, url } = await startInvented(run);
  for (const tab of ["overview", "statistics", "failures"]) {
    const opened = await Opened.at(`${url}?tab=${tab}`);
    const timer = setInterval(() => run.tick(), 1_000);
    try {
      await opened.page.locator("#main .panel").first().waitFor(POLL);
      await new Promise((done) => setTimeout(done, 5_000));
      const before = await renderer(opened);
      await new Promise((done) => setTimeout(done, SECONDS * 1000));
      const after = await renderer(opened);
      print(`processor time, ${tab}`, `${((100 * (after.cpu - before.cpu)) / SECONDS).toFixed(1)} %`, "≤ 10 %", `of a core; ${SECONDS} s at 1 event/s, 10,000 workers, 5 nodes, over 40 kinds of failures`);
    } finally {
      clearInterval(timer);
      await opened.close();
    }
  }
  server.close();
}

const PARTS = { day, hour, busy };
const wanted = process.argv.slice(2);
for (const [name, measure] of Object.entries(PARTS)) if (wanted.length === 0 || wanted.includes(name)) await measure();
