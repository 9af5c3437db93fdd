// What can be done by the web API can be done on the page, too. wec/src/reference.rs holds the same against the terminal.

import { readFileSync } from "node:fs";

import { afterEach, expect, it, vi } from "vitest";

import { changeScenario, changeSession } from "./control";
import * as sessions from "./sessions";

type Way =
  /** A function that the page calls. */
  | { call: () => Promise<unknown> }
  /** The file whose list reads this path. */
  | { reads: string }
  /** The operation whose answer has all of this one's that people need. */
  | { within: string };

const WAYS: Record<string, Way> = {
  "delete /api/v1/nodes/{name}": { call: () => sessions.forgetNode("a") },
  "delete /api/v1/sessions/{id}": { call: () => sessions.deleteSession("night") },
  "get /api/v1/nodes": { reads: "tabs/Nodes.svelte" },
  "get /api/v1/nodes/{name}": { within: "get /api/v1/nodes" },
  "get /api/v1/sessions": { reads: "tabs/Sessions.svelte" },
  "get /api/v1/sessions/{id}": { within: "get /api/v1/sessions" },
  // The changes of its plan are there; those of its runs are marks of the runs.
  "get /api/v1/sessions/{id}/journal": { within: "get /api/v1/sessions" },
  "patch /api/v1/sessions/{id}": { call: () => Promise.all([changeSession("night", { state: "paused" }), sessions.editSession("night", { plan: { workers: "2" } })]) },
  "patch /api/v1/sessions/{id}/scenarios/{name}": { call: () => changeScenario("night", "default", { workers: 2 }) },
  "post /api/v1/nodes": { call: () => sessions.expectNode("a") },
  "post /api/v1/nodes/{name}/activate": { call: () => sessions.activateNode("a", true) },
  "post /api/v1/nodes/{name}/deactivate": { call: () => sessions.activateNode("a", false) },
  "post /api/v1/runs/{id}/marks": { call: () => sessions.markRun("current", "deployed 1.4") },
  "post /api/v1/scenarios/check": { call: () => sessions.checkScenario("workers = 2") },
  "post /api/v1/sessions": { call: () => sessions.createSession({ id: "night", plan: {}, agents: {} }) },
  "post /api/v1/sessions/{id}/clone": { call: () => sessions.cloneSession("night", "night-2") },
  "post /api/v1/sessions/{id}/start": { call: () => sessions.startSession("night") },
  "post /api/v1/sessions/{id}/stop": { call: () => sessions.stopSession("night", false) },
};

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

/** `METHOD PATH` of the operations that are control. */
function operations(): string[] {
  const { paths } = JSON.parse(read("../../../docs/openapi.json")) as { paths: Record<string, Record<string, { tags?: string[] }>> };
  const all = Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, { tags = [] }]) => ({ name: `${method} ${path}`, tags })));
  return all.filter(({ tags }) => tags.includes("control")).map(({ name }) => name).sort();
}

afterEach(() => vi.unstubAllGlobals());

it("the page has a way for each operation, and no other", () => {
  expect(operations()).toEqual(Object.keys(WAYS).sort());
});

it.each(Object.entries(WAYS))("%s", async (operation, way) => {
  const [method = "", path = ""] = operation.split(" ");
  if ("within" in way) {
    expect(WAYS[way.within]).toHaveProperty("reads");
  } else if ("reads" in way) {
    expect(read(way.reads)).toContain(`"${path.slice(1)}"`);
  } else {
    const fetched = vi.fn<(url: string, init: RequestInit) => Promise<Response>>(() => Promise.resolve(new Response("{}")));
    vi.stubGlobal("fetch", fetched);
    await way.call();
    const template = new RegExp(`^${path.slice(1).replaceAll(/\{[a-z]+\}/g, "[^/]+")}$`);
    for (const [url, init] of fetched.mock.calls) expect([init.method?.toLowerCase(), url]).toEqual([method, expect.stringMatching(template)]);
    expect(fetched).toHaveBeenCalled();
  }
});

it("each function is called by a part of the page", () => {
  const parts = ["tabs/Sessions.svelte", "tabs/Nodes.svelte", "parts/NewSession.svelte", "parts/Mark.svelte", "parts/Steer.svelte", "parts/Load.svelte", "parts/State.svelte"];
  const text = parts.map(read).join("\n");
  const calls = Object.values(WAYS).flatMap((way) => ("call" in way ? [...way.call.toString().matchAll(/([a-zA-Z]+)\("/g)].map(([, name]) => name) : []));
  for (const name of calls) expect(text).toMatch(new RegExp(`\\b${name}\\(`));
});
