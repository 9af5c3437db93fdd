// Formats numbers. Pure; a unit is always written, and a missing figure is an en dash.

/** The text for a missing figure. */
export const NONE = "–";

const NBSP = "\u00a0";

/** A duration in the unit that leaves one to three digits before the point: `812 µs`, `4.21 ms`, `1.30 s`. */
export function duration(ns: number | null): string {
  if (ns === null) return NONE;
  const units: [number, string][] = [
    [1e3, "ns"],
    [1e6, "µs"],
    [1e9, "ms"],
  ];
  for (const [bound, unit] of units) {
    // Rounding must not carry 999.6 µs over to "1000 µs".
    const scaled = ns / (bound / 1e3);
    if (Number(threeDigits(scaled)) < 1000) {
      return `${unit === "ns" ? String(Math.round(ns)) : threeDigits(scaled)}${NBSP}${unit}`;
    }
  }
  const seconds = ns / 1e9;
  return seconds < 600 ? `${threeDigits(seconds)}${NBSP}s` : span(ns);
}

/** The CA's Retry-After: `3.00 s`, or the shortest and the longest: `1.00 s to 60.0 s`. */
export function retryAfter(asked: { retry_after_min_ns: number | null; retry_after_max_ns: number | null }): string {
  const [min, max] = [duration(asked.retry_after_min_ns), duration(asked.retry_after_max_ns)];
  return min === max ? min : `${min} to ${max}`;
}

/** The ends of an interval around a duration, with its unit and number of decimals: `4.05–4.48`. */
export function interval(ns: number, [low, high]: readonly [number, number]): string {
  const [number = "", unit = "ns"] = duration(ns).split(NBSP);
  const size = { ns: 1, µs: 1e3, ms: 1e6, s: 1e9 }[unit];
  // For `m:ss`, both ends have this form, too.
  if (size === undefined || number.includes(":")) return `${duration(low)}–${duration(high)}`;
  const decimals = number.split(".")[1]?.length ?? 0;
  return `${(low / size).toFixed(decimals)}–${(high / size).toFixed(decimals)}`;
}

/** Time as `m:ss` or `h:mm:ss`: `0:42`, `12:05`, `1:00:00`. */
export function span(ns: number): string {
  const total = Math.max(0, Math.floor(ns / 1e9));
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  const two = (n: number) => String(n).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(total % 60)}` : `${minutes}:${two(total % 60)}`;
}

/** An exact count with thin groups: `1 234 567`. */
export function count(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** A rate, without its unit: `0`, `0.42`, `8.15`, `94.2`, `1 240`. One that is not 0 is never shown as 0. */
export function rate(perSecond: number | null): string {
  if (perSecond === null) return NONE;
  if (perSecond === 0) return "0";
  if (perSecond < 0.005) return `<${NBSP}0.01`;
  return perSecond < 1000 ? threeDigits(perSecond) : count(perSecond);
}

/** A share of one: `0 %`, `0.04 %`, `5.1 %`, `100 %`. A share that is not 0 is never shown as 0. */
export function share(of: number | null): string {
  if (of === null) return NONE;
  const percent = of * 100;
  if (percent === 0) return `0${NBSP}%`;
  if (percent < 0.01) return `<${NBSP}0.01${NBSP}%`;
  if (percent < 1) return `${percent.toFixed(2)}${NBSP}%`;
  // A rounded share must not read as all or none.
  if (percent < 100 && percent > 99.9) return `>${NBSP}99.9${NBSP}%`;
  return `${percent === 100 ? "100" : percent.toFixed(1)}${NBSP}%`;
}

/** Bytes in powers of 1024. */
export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = n;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${n}${NBSP}B` : `${threeDigits(value)}${NBSP}${units[unit]}`;
}

/** A figure for an axis, without trailing zeros: `30 ms`, not `30.0 ms`. */
export function brief(figure: string): string {
  return figure.replace(/(\.\d*?)0+(?!\d)/, "$1").replace(/\.(?!\d)/, "");
}

/** Clock time of a server time stamp, in the reader's time zone: `10:12:31`. */
export function clock(unixSeconds: number): string {
  const at = new Date(unixSeconds * 1000);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((n) => String(n).padStart(2, "0")).join(":");
}

/** Day and clock time of a server time stamp, in the reader's time zone: `2026-11-21 10:12:31`. */
export function moment(unixSeconds: number): string {
  const at = new Date(unixSeconds * 1000);
  const day = [at.getFullYear(), at.getMonth() + 1, at.getDate()].map((n) => String(n).padStart(2, "0")).join("-");
  return `${day} ${clock(unixSeconds)}`;
}

/** A number of things with its noun: `1 worker`, `50 workers`, `2 batches`. */
export function things(n: number, one: string, many = `${one}s`): string {
  return `${count(n)}${NBSP}${n === 1 ? one : many}`;
}

/** Three significant digits, never in exponent form, whole numbers above 100. */
function threeDigits(value: number): string {
  if (value >= 99.95) return String(Math.round(value));
  if (value >= 9.995) return value.toFixed(1);
  return value.toFixed(2);
}

/** Foreign text whose invisible characters (control, direction) are written as JSON escapes. */
export function visible(text: string): string {
  return text.replace(
    // eslint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
