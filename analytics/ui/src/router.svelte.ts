// The place in the address bar, as state. Links are links, so that they open in other windows, too.

import { tick } from "svelte";

import { placeOf, queryOf, START, type Place } from "./address";

class Router {
  place = $state.raw<Place>(START);

  constructor() {
    // Tests render components without a window.
    if (typeof window === "undefined") return;
    this.place = placeOf(window.location.search);
    window.addEventListener("popstate", () => (this.place = placeOf(window.location.search)));
    window.addEventListener("click", (event) => this.#follow(event));
  }

  /** The query of this place with changes. */
  with(change: Partial<Place>): string {
    return queryOf({ ...this.place, ...change });
  }

  /** Goes to a place; `replace` leaves no step back to the present one. */
  go(change: Partial<Place>, how: "push" | "replace" = "push"): void {
    this.place = { ...this.place, ...change };
    const query = queryOf(this.place);
    if (how === "push") window.history.pushState(null, "", query);
    else window.history.replaceState(window.history.state, "", query);
  }

  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const href = link?.getAttribute("href");
    if (!href?.startsWith("?") || link?.target) return;
    event.preventDefault();
    const { row } = this.place;
    this.go(placeOf(href));
    if (row !== "" && this.place.row === "") void tick().then(() => this.#focusRow(row));
  }

  /** The details of a row were closed: the focus goes back to where they were opened. */
  #focusRow(row: string): void {
    document.querySelector<HTMLElement>(`a.row[href="${CSS.escape(this.with({ row }))}"]`)?.focus();
  }
}

export const router = new Router();
