import { describe, expect, it } from "vitest";

import { actionsOf, agentState, copyOf, isListed, meantFor, partState, patchOf, selectionOf, stateOf, typedAgents, type TypedAgents } from "./sessions";
import type { AgentView, PartView, PlanView } from "./wire";

const plan = (state: PlanView["state"]): PlanView => ({
  id: "night",
  state,
  since_unix_ns: 0,
  reason: "",
  waiting: "",
  paused: false,
  revision: 1,
  program: "wec 0.1.0",
  directory: "https://ca.test/dir",
  keys: {},
  agents: { names: [], group: null, labels: {} },
  run: "",
  runs: 0,
  parts: [],
  changes: [],
});

describe("what can be done with a session", () => {
  it.each<[PlanView["state"], string[]]>([
    ["ready", ["start", "edit", "delete"]],
    ["running", ["stop", "edit"]],
    ["stopping", ["stop"]],
    ["aborted", ["start", "edit", "delete"]],
    ["error", ["start", "edit", "delete"]],
  ])("that is %s", (state, actions) => expect(actionsOf(plan(state))).toEqual(actions));

  it("that was not planned is nothing", () => expect(actionsOf(null)).toEqual([]));
});

it("the state is the plan's, else that of the load on the board", () => {
  expect(stateOf({ id: "a", plan: plan("stopped"), session: null, runs: [] })).toBe("stopped");
  expect(stateOf({ id: "a", plan: { ...plan("running"), paused: true }, session: null, runs: [] })).toBe("paused");
  expect(stateOf({ id: "a", plan: null, session: null, runs: [] })).toBe("unknown");
  expect(stateOf({ id: "a", plan: { ...plan("running"), waiting: "no live agent is meant for it" }, session: null, runs: [] })).toBe("waiting");
});

it("a session names the agents that it is meant for", () => {
  expect(meantFor({})).toBe("all agents");
  expect(meantFor({ names: ["a", "b"], group: "eu", labels: { disk: "ssd" } })).toBe("a, b; group eu; disk=ssd");
});

it("a filter lists the planned sessions of its state", () => {
  const [ready, unplanned] = [{ id: "a", plan: plan("ready"), session: null, runs: [] }, { id: "b", plan: null, session: null, runs: [] }];
  expect([isListed(ready, ""), isListed(ready, "ready"), isListed(ready, "error")]).toEqual([true, true, false]);
  expect([isListed(unplanned, ""), isListed(unplanned, "ready")]).toEqual([true, false]);
});

describe("agents that are typed", () => {
  it.each<[TypedAgents, ReturnType<typeof selectionOf>]>([
    [{ names: "", group: "", labels: "" }, { names: [], group: null, labels: {} }],
    [{ names: " a, b,", group: "eu ", labels: "disk=ssd, of=a=b" }, { names: ["a", "b"], group: "eu", labels: { disk: "ssd", of: "a=b" } }],
    [{ names: "", group: "", labels: "disk" }, { wrong: "“disk” is not a label: write KEY=VALUE" }],
  ])("%o", (typed, selection) => expect(selectionOf(typed)).toEqual(selection));

  it("are those of a session as text", () => {
    const agents = { names: ["a", "b"], group: "eu", labels: { disk: "ssd" } };
    expect(selectionOf(typedAgents(agents))).toEqual(agents);
  });
});

it("a change of a session has what differs, and is based on what was seen", () => {
  const seen = { ...plan("ready"), revision: 3, keys: { workers: "2", rate: "5/s", "weights.refresh": "1" } };
  const all = { names: [], group: null, labels: {} };
  expect(patchOf(seen, seen.keys, all)).toBeUndefined();
  expect(patchOf(seen, { workers: "4", rate: "5/s", run_time: "10m" }, all)).toEqual({ revision: 3, plan: { workers: "4", run_time: "10m", "weights.refresh": null } });
  expect(patchOf(seen, seen.keys, { ...all, group: "eu" })).toEqual({ revision: 3, plan: {}, agents: { names: [], group: "eu", labels: {} } });
});

it("an agent is live, away, expected or draining", () => {
  const agent: AgentView = { name: "a", live: true, activated: true, draining: false, reserved: false, expected: false, group: "", labels: {}, program: "", strength: null, since_unix_ns: null, sessions: {} };
  expect(agentState(agent)).toBe("live");
  expect(agentState({ ...agent, activated: false })).toBe("live, deactivated");
  expect(agentState({ ...agent, draining: true })).toBe("draining");
  expect(agentState({ ...agent, live: false })).toBe("away");
  expect(agentState({ ...agent, live: false, reserved: true })).toBe("expected");
  expect(agentState({ ...agent, live: false, expected: true })).toBe("away, expected");
});

it("a part that has not ended is lost with its agent", () => {
  const part: PartView = { node: "a", state: "TEST_RUNNING", reason: "", since_unix_ns: 1, live: true };
  expect(partState(part)).toBe("test running");
  expect(partState({ ...part, live: false })).toBe("lost");
  expect(partState({ ...part, live: false, state: "TEST_FINISHED" })).toBe("test finished");
});

it("a copy has the next free number", () => {
  expect(copyOf("night", [])).toBe("night-2");
  expect(copyOf("night-2", ["night", "night-2", "night-3"])).toBe("night-4");
});
