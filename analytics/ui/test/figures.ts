// `npm run figures`: how fast the page opens and zooms in the run of a day, its memory, processor time and transfer.
//
// WEC_RESULTS is the number of requests in the day, ten million if not given; WEC_DAY names a folder that keeps its log.
// The hour has events at 1 Hz for WEC_SECONDS, ten minutes if not given, in a run that has lasted an hour before: memory
// that grows with the run is there from the start, and what a page of an hour would keep is the growth of its collected heap.

import { createServer, type Server } from "node:http";
import { createWriteStream, existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, utimes } from "node:fs/promises";
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

/** Parts that are zoomed into, by their ends as shares of the chart. */
const ZOOMS = [
  ["zooms into minutes", [[0.2, 0.21], [0.4, 0.412], [0.61, 0.622], [0.8, 0.81], [0.33, 0.342]]],
  ["zooms into hours", [[0.1, 0.5], [0.2, 0.3], [0.6, 0.9], [0.4, 0.55], [0.05, 0.95]]],
] as const;

type Line = Record<string, unknown> & { seq?: number; node?: string };

/** The names that the demo proves end with this. */
const DOMAIN = ".wec.test";

/** A line of a log as text of a round, with its times and its number shifted, and with names of that round alone. */
function template(line: Line): (after: number, seqs: number, round: number) => string {
  const times = ["origin_unix_ns", "at_unix_ns"].filter((key) => typeof line[key] === "number");
  const numbers = [...times, ...(line.seq === undefined ? [] : ["seq"])];
  const marked = JSON.stringify(line, (key, value: unknown) => (numbers.includes(key) && value === line[key] ? `@@${key}@@` : value));
  const parts = marked.split(/"@@(\w+)@@"/);
  return (after, seqs, round) =>
    parts.map((part, n) => (n % 2 === 0 ? part.replaceAll(DOMAIN, `-${round}${DOMAIN}`) : String((line[part] as number) + (part === "seq" ? seqs : after)))).join("");
}

/** Writes the log of a day: the records of a short real run, again and again. Returns the number of its requests. */
async function writeDay(pattern: string, file: string): Promise<number> {
  const lines = pattern.trimEnd().split("\n").map((line) => JSON.parse(line) as Line);
  const header = lines.find(({ record }) => record === "header") ?? {};
  const records = lines.filter(({ record }) => record !== "header" && record !== "footer" && record !== "event");
  const requests = records.reduce((sum, record) => sum + ((record["individualresults"] as unknown[] | undefined)?.length ?? 0), 0);
  if (requests === 0) throw new Error("the pattern has no requests");
  const times = Math.max(1, Math.round(RESULTS / requests));
  const highest = new Map<string, number>();
  for (const { node = "", seq = 0 } of records) highest.set(node, Math.max(highest.get(node) ?? 0, seq));
  const templates = records.map((record) => ({ text: template(record), seqs: highest.get(record.node ?? "") ?? 0 }));
  const out = createWriteStream(file);
  // The run is over, so that it is opened as one that has ended.
  const began = Math.floor(Date.now() / 1000 - DAY_S - 3_600) * 1e9;
  const shift = began - (header["started_unix_ns"] as number);
  out.write(`${JSON.stringify({ ...header, run: "day", started_unix_ns: began })}\n`);
  for (let round = 0; round < times; round += 1) {
    const after = shift + Math.floor((round * (DAY_S - PATTERN_S)) / Math.max(1, times - 1)) * 1e9;
    const text = templates.map(({ text, seqs }) => text(after, round * seqs, round)).join("\n");
    if (!out.write(`${text}\n`)) await once(out, "drain");
  }
  out.end();
  await once(out, "finish");
  // A log that was changed lately and has no end counts as one that grows, and gets no index.
  await utimes(file, began / 1e9 + DAY_S, began / 1e9 + DAY_S);
  return times * requests;
}

/** When the first chart of the page has been drawn, milliseconds after its navigation began. */
const drawn = (page: Opened["page"]) =>
  page
    .waitForFunction(() => (Number(document.querySelector('[data-chart="throughput"]')?.getAttribute("data-points")) > 0 ? performance.now() : 0), undefined, { polling: "raf" })
    .then((handle) => handle.jsonValue() as Promise<number>);

/** The folder with the log of a day, and the number of its requests if it was written now. */
async function dayFolder(): Promise<{ folder: string; requests: number | null }> {
  const folder = process.env["WEC_DAY"] ?? (await mkdtemp(join(tmpdir(), "wec-day-")));
  const file = join(folder, "day.jsonl");
  if (existsSync(file)) return { folder, requests: null };
  const demo = await startDemo(8);
  let pattern = "";
  try {
    await new Promise((done) => setTimeout(done, PATTERN_S * 1000));
    const [name = ""] = (await readdir(join(demo.folder, "results"))).filter((name) => name.endsWith(".jsonl"));
    // Without the record that is being written.
    pattern = (await readFile(join(demo.folder, "results", name), "utf8")).replace(/[^\n]*$/, "");
  } finally {
    await demo.end();
  }
  return { folder, requests: await writeDay(pattern, file) };
}

async function day(): Promise<void> {
  const { folder, requests } = await dayFolder();
  try {
    const made = Date.now();
    const first = await startServe(folder);
    // Reads the whole log once, and writes its index.
    const answer = await fetch(new URL("api/v1/runs/day/snapshot", first.page));
    if (!answer.ok) throw new Error(`the run cannot be opened: ${await answer.text()}`);
    await answer.text();
    if (requests !== null) console.log(`a day of ${requests} requests; its index was made in ${((Date.now() - made) / 1000).toFixed(1)} s, once`);
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
      const zoomed = async (parts: readonly (readonly [number, number])[]): Promise<number[]> => {
        const times: number[] = [];
        for (const [from, to] of parts) {
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
          times.push(await took.jsonValue());
        }
        return times;
      };
      const ZOOMED = "release of the button to charts and tables of the part";
      for (const [what, parts] of ZOOMS) {
        const times = await zoomed(parts);
        print(`${what}, median of ${times.length}`, `${Math.round(middle(times))} ms`, "< 300 ms", ZOOMED);
        print(`${what}, slowest`, `${Math.round(Math.max(...times))} ms`, "< 300 ms", ZOOMED);
      }
      const transfer = await page.evaluate(() => {
        const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")] as PerformanceResourceTiming[];
        return all.filter(({ name }) => !name.includes("/api/")).reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0);
      });
      print("transfer when it opens", `${(transfer / 1000).toFixed(1)} kB`, "≤ 120 kB", "as the browser counts it; npm run size has all files");
    } catch (error) {
      console.error(`the page shows:\n${(await opened.text("body")).slice(0, 800)}\n${opened.complaints.join("\n")}`);
      throw error;
    } finally {
      await opened.close();
      await served.end();
    }
  } finally {
    if (process.env["WEC_DAY"] === undefined) await rm(folder, { recursive: true, force: true });
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

interface Renderer {
  /** Processor time, seconds. */
  cpu: number;
  /** Proportional set size, bytes: with its part of the browser's program and of the drawn tiles. */
  pss: number;
  /** Private memory, bytes, as the browser's task manager has it. */
  own: number;
}

/** The renderer process of a page. */
async function renderer(opened: Opened): Promise<Renderer> {
  const { processes } = await opened.processes();
  // The page is the busiest renderer: the browser keeps spare ones.
  const [busiest] = processes.filter(({ type }) => type === "renderer").sort((a, b) => b.cpuTime - a.cpuTime);
  if (busiest === undefined) throw new Error("no renderer");
  const rollup = await readFile(`/proc/${busiest.id}/smaps_rollup`, "utf8");
  const bytes = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(rollup)?.[1]) * 1024;
  return { cpu: busiest.cpuTime, pss: bytes("Pss"), own: bytes("Pss_Anon") + bytes("SwapPss") };
}

/** The JavaScript heap without garbage, bytes. */
async function collectedHeap({ page }: Opened): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  await session.detach();
  return usedSize;
}

async function hour(): Promise<void> {
  const seconds = Number(process.env["WEC_SECONDS"] ?? 600);
  const run = new Run({ workers: 20, kinds: 40, nodes: 4 });
  for (let second = 0; second < 3_600; second += 1) run.tick();
  const { server, url } = await startInvented(run);
  const opened = await Opened.at(url);
  try {
    await drawn(opened.page);
    let [own, pss] = [0, 0];
    const follow = async (events: number) => {
      for (let event = 0; event < events; event += 1) {
        const next = new Promise((done) => setTimeout(done, 1_000));
        run.tick();
        // Each event is drawn, so that none waits in a queue.
        await opened.page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
        await next;
        if (event % 10 !== 0) continue;
        const now = await renderer(opened);
        [own, pss] = [Math.max(own, now.own), Math.max(pss, now.pss)];
      }
    };
    // The first events fill caches.
    await follow(30);
    const before = await collectedHeap(opened);
    await follow(seconds);
    const after = await collectedHeap(opened);
    const how = `the highest in ${seconds} s at 1 Hz of a run that has lasted an hour`;
    print("memory of the tab", `${(own / 1e6).toFixed(0)} MB`, "< 150 MB", `private memory of the renderer, as the browser’s task manager has it; ${how}`);
    print("memory with shared parts", `${(pss / 1e6).toFixed(0)} MB`, "", `Pss of the renderer: with its part of the browser’s program, and with drawn tiles; ${how}`);
    print("growth of the heap in an hour", `${((3_600 * (after - before)) / seconds / 1e6).toFixed(1)} MB`, "", `without garbage ${(before / 1e6).toFixed(1)} MB, ${seconds} s later ${(after / 1e6).toFixed(1)} MB`);
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
