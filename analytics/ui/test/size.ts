// `npm run size`: what a browser receives, compressed, and whether it is within the bound.

import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";

const MOST = 120_000;
const dist = resolve(import.meta.dirname, "../dist");

const files = (await readdir(dist, { recursive: true })).filter((file) => /\.(html|js|css|svg)$/.test(file)).sort();
let total = 0;
for (const file of files) {
  const [plain, brotli] = await Promise.all([stat(join(dist, file)), stat(join(dist, `${file}.br`))]);
  total += brotli.size;
  console.log(`${String(brotli.size).padStart(8)} of ${String(plain.size).padStart(8)} bytes  ${file}`);
}
console.log(`${String(total).padStart(8)} bytes in all, of at most ${MOST}`);
if (total > MOST) process.exitCode = 1;
