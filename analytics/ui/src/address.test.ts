import { describe, expect, it } from "vitest";

import { pathOf, queryOf, viewAsked, type View } from "./address";

describe("an address", () => {
  it.each<[View, string]>([
    [{ name: "runs" }, "?view=runs"],
    [{ name: "run", run: "current" }, "?"],
    [{ name: "run", run: "20261121-095602" }, "?run=20261121-095602"],
    [{ name: "run", run: "a b&view=runs" }, "?run=a+b%26view%3Druns"],
  ])("leads to %j", (view, query) => {
    expect(queryOf(view)).toBe(query);
    expect(viewAsked(query)).toEqual(view);
  });

  it.each([
    ["", "api/v1/runs/current"],
    ["?run=20261121-095602", "api/v1/runs/20261121-095602"],
    ["?run=../x", "api/v1/runs/..%2Fx"],
  ])("that is %j asks for %s", (search, path) => {
    const view = viewAsked(search);
    expect(view.name === "run" && pathOf(view.run)).toBe(path);
  });

  it("names a run in the API whatever its id holds", () => {
    expect(pathOf("a/b?c")).toBe("api/v1/runs/a%2Fb%3Fc");
  });
});
