// The page's addresses: which run, which tab, which period of time and which row. Pure.
//
// `?` is the current run's overview. `?run=ID&tab=failures&from=60&to=90&row=…` is another place; times are seconds after
// the run's start. `?view=runs` is the list of runs in addresses of earlier versions.

/** The run that was started last. */
export const CURRENT = "current";

export const TABS = [
  { id: "overview", label: "Overview" },
  { id: "statistics", label: "Statistics" },
  { id: "failures", label: "Failures" },
  { id: "state", label: "State" },
  { id: "validation", label: "Validation" },
  { id: "connections", label: "Nonces and connections" },
  { id: "nodes", label: "Nodes" },
  { id: "sessions", label: "Sessions" },
  { id: "runs", label: "Runs" },
  { id: "capacity", label: "Capacity" },
  { id: "log", label: "Log" },
] as const;

export type Tab = (typeof TABS)[number]["id"];

/** The shown period of time: the latest seconds (Infinity: all), or a part in seconds after the run's start. */
export type Period = { last: number } | { from: number; to: number };

export interface Place {
  run: string;
  tab: Tab;
  /** Null where nobody has chosen one. */
  period: Period | null;
  /** The row whose details are open; empty for none. */
  row: string;
  /** The runs that are compared, on the tab of runs. */
  compare: readonly string[];
}

/** As many runs as can be compared beside each other. */
export const MOST_COMPARED = 5;

export const START: Place = { run: CURRENT, tab: "overview", period: null, row: "", compare: [] };

/** The place in an address's query. What cannot be read is left out. */
export function placeOf(search: string): Place {
  const query = new URLSearchParams(search);
  const named = query.get("tab") ?? (query.get("view") === "runs" ? "runs" : "");
  return {
    run: query.get("run") || CURRENT,
    tab: TABS.find(({ id }) => id === named)?.id ?? "overview",
    period: periodOf(query),
    row: query.get("row") ?? "",
    compare: [...new Set((query.get("compare") ?? "").split(","))].filter((run) => run !== "").slice(0, MOST_COMPARED),
  };
}

function periodOf(query: URLSearchParams): Period | null {
  const seconds = (key: string) => {
    const text = query.get(key);
    const value = text === null || text === "" ? NaN : Number(text);
    return Number.isFinite(value) && value >= 0 ? value : null;
  };
  const [from, to] = [seconds("from"), seconds("to")];
  if (from !== null && to !== null && from < to) return { from, to };
  if (query.get("last") === "run") return { last: Infinity };
  const last = seconds("last");
  return last === null || last === 0 ? null : { last };
}

/** The query that leads to a place. */
export function queryOf(place: Partial<Place>): string {
  const { run, tab, period, row, compare } = { ...START, ...place };
  const query = new URLSearchParams();
  if (run !== CURRENT) query.set("run", run);
  if (tab !== "overview") query.set("tab", tab);
  if (period !== null && "last" in period) query.set("last", period.last === Infinity ? "run" : String(period.last));
  if (period !== null && "from" in period) {
    query.set("from", String(period.from));
    query.set("to", String(period.to));
  }
  if (row !== "") query.set("row", row);
  if (tab === "runs" && compare.length > 0) query.set("compare", compare.join(","));
  return `?${query}`;
}

/** The path of a run in the API. */
export function pathOf(run: string): string {
  return `api/v1/runs/${encodeURIComponent(run)}`;
}
