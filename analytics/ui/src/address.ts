// The page's addresses: `?` is the current run, `?run=ID` another one, `?view=runs` the list. Pure.

/** The run that was started last. */
export const CURRENT = "current";

export type View = { name: "runs" } | { name: "run"; run: string };

/** The view in an address's query. */
export function viewAsked(search: string): View {
  const query = new URLSearchParams(search);
  if (query.get("view") === "runs") return { name: "runs" };
  return { name: "run", run: query.get("run") ?? CURRENT };
}

/** The query that leads to a view. */
export function queryOf(view: View): string {
  if (view.name === "runs") return "?view=runs";
  return view.run === CURRENT ? "?" : `?${new URLSearchParams({ run: view.run })}`;
}

/** The path of a run in the API. */
export function pathOf(run: string): string {
  return `api/v1/runs/${encodeURIComponent(run)}`;
}
