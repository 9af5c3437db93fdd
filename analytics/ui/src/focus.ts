// The focus is never lost: when the element that has it is removed or disabled, what is nearest to it gets it.

const TAKES_FOCUS = 'a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary, [tabindex="0"]';

/** Watches the focus until the returned function is called. */
export function keepFocus(root: Document = document): () => void {
  /** What had the focus last, and what is around it. */
  let places: Element[] = [];
  const focused = (event: FocusEvent) => {
    places = [];
    for (let at = event.target instanceof Element ? event.target : null; at !== null; at = at.parentElement) places.push(at);
  };
  const observer = new MutationObserver(() => {
    const [last, ...around] = places;
    if (last === undefined || (root.activeElement !== root.body && root.activeElement !== last)) return;
    // Who clicks beside everything takes the focus away on purpose.
    if (last.isConnected && !last.matches(":disabled")) return;
    for (const place of around) {
      const next = place.isConnected ? place.querySelector<HTMLElement>(TAKES_FOCUS) : null;
      if (next === null) continue;
      next.focus({ preventScroll: true });
      return;
    }
  });
  root.addEventListener("focusin", focused);
  observer.observe(root, { subtree: true, childList: true, attributes: true, attributeFilter: ["disabled"] });
  return () => {
    root.removeEventListener("focusin", focused);
    observer.disconnect();
  };
}
