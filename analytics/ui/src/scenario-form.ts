// The form beside the editor of a scenario. The text is what counts: a field reads its value from the server's check of the
// text, and a change of a field is a change of the text. Pure.

import { DEFAULT_WEIGHTS } from "./chains";
import { CHAINS, valuesOf, type Chain, type ScenarioFile, type ScenarioKeys } from "./wire";

export interface Field {
  /** The key, with its table: `rate`, `weights.refresh`. */
  key: keyof ScenarioFile | `weights.${Chain}`;
  label: string;
  /** Shown while it is empty. */
  hint: string;
  about: string;
  /** In TOML it is a number or a truth value where its text is one, else a text; a list has a text for each line. */
  kind: "text" | "number" | "list";
  choices?: readonly string[];
}

export const FIELDS: readonly Field[] = [
  { key: "directory", label: "directory of the CA", hint: "https://ca.test/dir", about: "The URL of the ACME directory", kind: "text" },
  { key: "workers", label: "workers", hint: "10", about: "Users at the same time; with a rate, the most", kind: "number" },
  { key: "rate", label: "rate", hint: "20/s", about: "Arrivals a second, however slow the answers are; without it, each worker waits for its answer", kind: "text" },
  { key: "rate_unit", label: "unit of the rate", hint: "chains", about: "What the rate counts", kind: "text", choices: valuesOf<NonNullable<ScenarioFile["rate_unit"]>>({ chains: true, requests: true }) },
  { key: "spacing", label: "spacing", hint: "poisson", about: "How the times between arrivals are spread", kind: "text", choices: valuesOf<NonNullable<ScenarioFile["spacing"]>>({ poisson: true, even: true }) },
  { key: "run_time", label: "run time", hint: "10m", about: "After it no more chains start", kind: "text" },
  { key: "think_time", label: "think time", hint: "1s..3s", about: "How long a worker waits between two chains", kind: "text" },
  { key: "profile", label: "certificate profile", hint: "the CA’s own", about: "The profile that orders name", kind: "text" },
  { key: "thresholds", label: "thresholds", hint: "chain.certificate{p(95)} < 2s", about: "One a line; the verdict is by them", kind: "list" },
];

/** The chains that a plan has by default have a weight each. */
export const WEIGHTS: readonly Field[] = CHAINS.filter((chain) => DEFAULT_WEIGHTS[chain] > 0).map((chain) => ({
  key: `weights.${chain}`,
  label: chain,
  hint: String(DEFAULT_WEIGHTS[chain]),
  about: `How often ${chain} is chosen, relative to the others`,
  kind: "number",
}));

/** A value in TOML. */
function written(value: string, kind: Field["kind"]): string {
  if (kind === "list") {
    const lines = value.split("\n").map((line) => line.trim()).filter((line) => line !== "");
    return `[${lines.map((line) => JSON.stringify(line)).join(", ")}]`;
  }
  if (kind === "number" && /^-?\d+(\.\d+)?$/.test(value)) return value;
  return JSON.stringify(value);
}

/** A line that begins a table: `[weights]`, `[scenarios.storm]`. */
const TABLE = /^\s*\[\s*([^\]]*?)\s*\]\s*(#.*)?$/;

/** The first and one past the last line that a key's value has; undefined where the text has no such key. */
function linesOf(lines: readonly string[], table: string, name: string): [number, number] | undefined {
  let within = "";
  for (let n = 0; n < lines.length; n += 1) {
    const line = lines[n] ?? "";
    const head = TABLE.exec(line);
    if (head !== null) within = head[1] ?? "";
    else if (within === table && new RegExp(`^\\s*"?${name}"?\\s*=`).test(line)) return [n, endOf(lines, n)];
    // A list over several lines may have lines that look like tables.
    else if (/=\s*\[/.test(line)) n = endOf(lines, n) - 1;
  }
  return undefined;
}

/** One past the last line of the value that begins in this line: a list may have several. */
function endOf(lines: readonly string[], from: number): number {
  let open = 0;
  for (let n = from; n < lines.length; n += 1) {
    const bare = (lines[n] ?? "").replace(/"(?:[^"\\]|\\.)*"|'[^']*'/g, "").replace(/#.*/, "");
    const value = n === from ? bare.slice(bare.indexOf("=") + 1) : bare;
    for (const sign of value) open += sign === "[" || sign === "{" ? 1 : sign === "]" || sign === "}" ? -1 : 0;
    if (open <= 0) return n + 1;
  }
  return lines.length;
}

/** The text with another value of a key; without the key if the value is empty. The rest of the text stays as it is. */
export function withKey(toml: string, { key, kind }: Pick<Field, "key" | "kind">, value: string): string {
  const dot = key.lastIndexOf(".");
  const [table, name] = [key.slice(0, Math.max(0, dot)), key.slice(dot + 1)];
  const lines = toml.split("\n");
  const known = linesOf(lines, table, name);
  const line = value.trim() === "" ? [] : [`${name} = ${written(value.trim(), kind)}`];
  if (known !== undefined) {
    lines.splice(known[0], known[1] - known[0], ...line);
    return lines.join("\n");
  }
  if (line.length === 0) return toml;
  const heads = lines.flatMap((text, n) => (TABLE.test(text) ? [n] : []));
  if (table === "") {
    // Before the first table, after the last line that is not empty.
    let at = heads[0] ?? lines.length;
    while (at > 0 && (lines[at - 1] ?? "").trim() === "") at -= 1;
    lines.splice(at, 0, ...line);
    return lines.join("\n");
  }
  const head = heads.find((n) => TABLE.exec(lines[n] ?? "")?.[1] === table);
  if (head !== undefined) lines.splice(head + 1, 0, ...line);
  else return `${toml.trimEnd()}\n\n[${table}]\n${line.join("")}\n`;
  return lines.join("\n");
}

/** The value of a field by the keys of the server's check; empty where the text has none. A list has a line for each. */
export function valueOf(keys: Readonly<ScenarioKeys>, { key, kind }: Field): string {
  const text = keys[key] ?? "";
  // The server joins the items by commas; those within braces are of an item.
  return kind === "list" ? text.split(/\s*,\s*(?![^{]*\})/).join("\n") : text;
}

const BARE = /^[A-Za-z0-9_-]+$/;

/** A scenario file with these keys: top-level ones first, then a table for each common beginning. */
export function tomlOf(keys: Readonly<ScenarioKeys>): string {
  const quoted = (name: string) => (BARE.test(name) ? name : JSON.stringify(name));
  const tables = new Map<string, string[]>([["", []]]);
  for (const [key, value] of Object.entries(keys)) {
    if (value === undefined) continue;
    const parts = key.split(".");
    const name = parts.pop() ?? "";
    const table = parts.map(quoted).join(".");
    const lines = tables.get(table) ?? [];
    tables.set(table, lines);
    // A number whose text would be another one is written as text, which is the same to the server.
    const plain = value === "true" || value === "false" || (/^-?\d+(\.\d+)?$/.test(value) && String(Number(value)) === value);
    lines.push(`${quoted(name)} = ${plain ? value : JSON.stringify(value)}\n`);
  }
  return [...tables].filter(([, lines]) => lines.length > 0).map(([table, lines]) => (table === "" ? "" : `[${table}]\n`) + lines.join("")).join("\n");
}
