// The table of statistics as CSV, for spreadsheets. Pure.

import type { StatRow } from "./statistics";
import { valuesOf, type Timing } from "./wire";

const TIMES = valuesOf<Exclude<keyof Timing, `${string}_ci`>>({ n: true, mean: true, std_error: true, min: true, p50: true, p90: true, p95: true, p99: true, p99_9: true, max: true });

/** All rows, with times in nanoseconds; a figure that cannot be given is empty. */
export function csvOf(rows: readonly StatRow[]): string {
  const head = ["group", "name", "detail", "count", "failed", "per_second", "bytes", ...["response", "service"].flatMap((which) => TIMES.map((key) => `${which}_${key}${key === "n" ? "" : "_ns"}`))];
  const lines = rows.map((row) => {
    const times = [row.response, row.service].flatMap((timing) => TIMES.map((key) => timing?.[key] ?? null));
    return [row.group, row.name, row.detail, row.count, row.failed, row.perSecond, row.bytes, ...times].map(cell).join(",");
  });
  return `${[head.join(","), ...lines].join("\r\n")}\r\n`;
}

/** A cell as RFC 4180 writes it. A text that a spreadsheet would compute is marked as a text. */
function cell(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
