import { expect, it } from "vitest";

import { nextTheme, THEMES, themeNamed } from "./theme";

it("a theme is one of three, and each change leads to the next", () => {
  expect(["dark", "light", "system", "pink", null].map(themeNamed)).toEqual(["dark", "light", "system", "system", "system"]);
  const seen = THEMES.map((_, n) => Array.from({ length: n }).reduce<(typeof THEMES)[number]>((theme) => nextTheme(theme), "system"));
  expect(new Set(seen)).toEqual(new Set(THEMES));
  expect(nextTheme("dark")).toBe("system");
});
