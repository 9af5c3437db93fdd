import { describe, expect, it } from "vitest";

import { actionsOf, agentState, copyOf, meantFor, partState, stateOf } from "./sessions";
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
    ["ready", ["start", "delete"]],
    ["running", ["stop"]],
    ["stopping", ["stop"]],
    ["aborted", ["start", "delete"]],
    ["error", ["start", "delete"]],
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
