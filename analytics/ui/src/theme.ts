// Light, dark, or as the system is. The choice stays in the browser.

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEY = "wec-theme";

/** A theme by its name in the browser's store; the system's if that is none. */
export function themeNamed(name: string | null): Theme {
  return THEMES.find((theme) => theme === name) ?? "system";
}

/** The theme after this one. */
export function nextTheme(theme: Theme): Theme {
  return THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
}

export function storedTheme(): Theme {
  try {
    return themeNamed(localStorage.getItem(KEY));
  } catch {
    // A browser may refuse the store; then the choice lasts as long as the page.
    return "system";
  }
}

/** Shows the page in this theme, and keeps the choice. */
export function applyTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
  window.dispatchEvent(new Event("themechange"));
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // As above.
  }
}

/** Colours that were resolved, until the theme changes. */
const resolved = new Map<string, string>();
// Also while no chart is shown: the next one must not have the colours of the last.
if (typeof window !== "undefined") onTheme(() => resolved.clear());

/** A custom property's colour as the canvas takes it: `light-dark()` is resolved. */
export function colourOf(name: string): string {
  const known = resolved.get(name);
  if (known !== undefined) return known;
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  resolved.set(name, color);
  return color;
}

/** Calls `changed` when the colours are others. Returns what ends that. */
export function onTheme(changed: () => void): () => void {
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", changed);
  window.addEventListener("themechange", changed);
  return () => {
    scheme.removeEventListener("change", changed);
    window.removeEventListener("themechange", changed);
  };
}
