// Data from the server: types made from docs/openapi.json, the few constants that the types lack, and checks of data
// without which the page fails.
// No other file declares types of data from the server.

import type { ChainSeries, LimitCause, LimitsView, Live, ReadingView, RunEntry, Series, Timing } from "./api";
import { CHAINS, type Chain } from "./chains";

export type * from "./api";
export { CHAINS, type Chain };

/** Version of the snapshot that this page can read. */
export const SNAPSHOT_VERSION = 1;

/** The least and the largest value that a percentile has with 95 % confidence. */
export type Interval = NonNullable<Timing["p50_ci"]>;

/** All values of a type, in this order. One that is missing or unknown is an error of types. */
export const valuesOf = <T extends string>(all: Record<T, true>): readonly T[] => Object.keys(all) as T[];

export const LIMITS = valuesOf<keyof LimitsView>({ registrations: true, authorizations: true, certificates: true });

export const LIMIT_CAUSES = valuesOf<LimitCause>({ cap: true, machine: true, wec: true });

/** Columns of each chain. */
export const CHAIN_COLUMNS = valuesOf<keyof ChainSeries>({
  count: true,
  failed: true,
  mean_ns: true,
  p50_ns: true,
  p95_ns: true,
  p99_ns: true,
  ca_mean_ns: true,
});

type ColumnsOf<T> = Exclude<{ [K in keyof Series]: Series[K] extends T[] ? K : never }[keyof Series], "at_unix_s">;
export type CountColumn = ColumnsOf<number>;
export type LoadColumn = Exclude<ColumnsOf<number | null>, CountColumn>;

/** Columns of counts. */
export const COUNT_COLUMNS = valuesOf<CountColumn>({
  issued: true,
  requests: true,
  requests_failed: true,
  bytes_sent: true,
  bytes_received: true,
  hits: true,
});
/** Columns from samples of the load and of the state store; null in buckets without a sample. */
export const LOAD_COLUMNS = valuesOf<LoadColumn>({
  workers_target: true,
  workers: true,
  busy: true,
  chains_target: true,
  requests_target: true,
  lag_p99_ns: true,
  lag_max_ns: true,
  registrations: true,
  authorizations: true,
  certificates: true,
});

/**
 * Reads one event's text. Checks that the page can show it (version, columns of one length, each chain).
 * The rest is trusted, because the program that serves the page sends it.
 *
 * Throws an Error with a message for people.
 */
export function parseLive(text: string): Live {
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) throw new Error("the server sent something that is not an object");
  const { snapshot, series } = value;
  if (!isObject(snapshot) || !isObject(snapshot["chains"]) || !isObject(snapshot["run"])) {
    throw new Error("the server sent no snapshot");
  }
  if (snapshot["version"] !== SNAPSHOT_VERSION) {
    throw new Error(
      `the server sends snapshot version ${String(snapshot["version"])}, this page ${SNAPSHOT_VERSION}: reload the page`,
    );
  }
  for (const chain of CHAINS) {
    if (!isObject(snapshot["chains"][chain])) throw new Error(`the snapshot lacks the chain ${chain}`);
  }
  if (!isSeries(series)) throw new Error("the server sent a series whose columns do not fit together");
  if (typeof value["now_unix_ns"] !== "number") throw new Error("the server sent no time");
  return value as unknown as Live;
}

/** How far a log is read, or undefined when the text does not say it. */
export function parseReading(text: string): ReadingView | undefined {
  const value: unknown = JSON.parse(text);
  if (!isObject(value) || typeof value["log"] !== "string") return undefined;
  const { log, read_bytes, log_bytes } = value;
  return typeof read_bytes === "number" && typeof log_bytes === "number" ? { log, read_bytes, log_bytes } : undefined;
}

/** The runs of a list, or undefined when the text is not one. */
export function parseRuns(text: string): RunEntry[] | undefined {
  const value: unknown = JSON.parse(text);
  if (!isObject(value) || !Array.isArray(value["runs"])) return undefined;
  const fits = (run: unknown) => isObject(run) && typeof run["id"] === "string" && typeof run["started_unix_ns"] === "number";
  return value["runs"].every(fits) ? (value["runs"] as RunEntry[]) : undefined;
}

/** The `error` of an API answer's body, or undefined when the body is not one. */
export function parseError(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) && typeof value["error"] === "string" ? value["error"] : undefined;
  } catch {
    return undefined;
  }
}

/** The `mistakes` of an API answer's body; none when it has none. */
export function parseMistakes(text: string): string[] {
  try {
    const value: unknown = JSON.parse(text);
    const mistakes = isObject(value) ? value["mistakes"] : undefined;
    return Array.isArray(mistakes) ? mistakes.filter((mistake) => typeof mistake === "string") : [];
  } catch {
    return [];
  }
}

function isSeries(value: unknown): boolean {
  if (!isObject(value) || !Array.isArray(value["at_unix_s"]) || !isObject(value["chains"])) return false;
  const length = value["at_unix_s"].length;
  const fits = (holder: Record<string, unknown>, keys: readonly string[]) =>
    keys.every((key) => Array.isArray(holder[key]) && holder[key].length === length);
  const { chains } = value;
  return (
    typeof value["step_s"] === "number" &&
    value["step_s"] > 0 &&
    fits(value, [...COUNT_COLUMNS, ...LOAD_COLUMNS]) &&
    CHAINS.every((name) => {
      const chain = chains[name];
      return isObject(chain) && fits(chain, CHAIN_COLUMNS);
    }) &&
    isObject(value["classes"]) &&
    fits(value["classes"], Object.keys(value["classes"]))
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
