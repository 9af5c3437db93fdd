// Sessions that agents run, as the page shows and changes them. Pure, but for the requests at the end.

import { pathOf } from "./address";
import { ask, type Asked } from "./control";
import { valuesOf, type AgentView, type NewSession, type PartView, type PlanState, type PlanView, type ScenarioCheck, type ScenarioKeys, type Selection, type SessionEntry, type SessionPatch } from "./wire";

export type Action = "start" | "stop" | "edit" | "delete";

/** What can be done with a session now; the server has the last word. */
export function actionsOf(plan: PlanView | null): readonly Action[] {
  switch (plan?.state) {
    case undefined:
      return [];
    case "running":
      return ["stop", "edit"];
    case "stopping":
      return ["stop"];
    default:
      return ["start", "edit", "delete"];
  }
}

/** The states of a planned session, in the order of its life. */
export const STATES = valuesOf<PlanState>({ ready: true, running: true, stopping: true, stopped: true, aborted: true, error: true });

/** Whether a session is listed with this filter, as `GET /api/v1/sessions?state=` does it; an empty one lists all. */
export const isListed = ({ plan }: SessionEntry, state: PlanState | ""): boolean => state === "" || plan?.state === state;

/**
 * The state in words: of the plan, else of the load on the board. A started session that no agent runs is waiting, and
 * one whose load is paused is paused.
 */
export function stateOf({ plan, session, runs }: SessionEntry): string {
  if (plan?.waiting) return "waiting";
  if (plan) return plan.paused ? "paused" : plan.state;
  if (session !== null) return session.state;
  return runs.length > 0 ? "only its runs are left" : "unknown";
}

/** The agents that a session is meant for: `all agents`, `a, b; group eu; disk=ssd`. */
export function meantFor({ names, group, labels }: PlanView["agents"]): string {
  // The server leaves out what is empty.
  const parts = [(names ?? []).join(", "), group ? `group ${group}` : "", ...Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`)];
  return parts.filter((part) => part !== "").join("; ") || "all agents";
}

/** The agents of a session as they are typed: names and labels are separated by commas. */
export interface TypedAgents {
  names: string;
  group: string;
  labels: string;
}

/** The agents of a session as text to edit. */
export const typedAgents = ({ names, group, labels }: Selection): TypedAgents => ({
  names: (names ?? []).join(", "),
  group: group ?? "",
  labels: Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`).join(", "),
});

/** The agents that were typed; a label that is not KEY=VALUE is refused. */
export function selectionOf({ names, group, labels }: TypedAgents): Selection | { wrong: string } {
  const parts = (text: string) => text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  const pairs = parts(labels).map((label) => [label, label.indexOf("=")] as const);
  const wrong = pairs.find(([, at]) => at < 1);
  if (wrong !== undefined) return { wrong: `“${wrong[0]}” is not a label: write KEY=VALUE` };
  return {
    names: parts(names),
    group: group.trim() === "" ? null : group.trim(),
    labels: Object.fromEntries(pairs.map(([label, at]) => [label.slice(0, at), label.slice(at + 1)])),
  };
}

/** A change of a planned session to these keys and agents; undefined where there is none. It is based on what was seen. */
export function patchOf(seen: Pick<PlanView, "revision" | "keys" | "agents">, keys: ScenarioKeys, agents: Selection): SessionPatch | undefined {
  const changed = Object.entries(keys).filter(([key, value]) => seen.keys[key] !== value);
  const removed = Object.keys(seen.keys).filter((key) => !(key in keys)).map((key) => [key, null] as const);
  const plan = Object.fromEntries([...changed, ...removed]);
  const sameAgents = meantFor(agents) === meantFor(seen.agents);
  if (Object.keys(plan).length === 0 && sameAgents) return undefined;
  return { revision: seen.revision, plan, ...(sameAgents ? {} : { agents }) };
}

/** The state of an agent in a session in words: lost if it has not ended its part and is not live. */
export function partState({ state, live }: PartView): string {
  const active = state === "PREPARING" || state === "TEST_RUNNING";
  return active && !live ? "lost" : state.toLowerCase().replaceAll("_", " ");
}

/** The state of an agent in words. */
export function agentState({ live, activated, draining, reserved, expected }: AgentView): string {
  if (reserved) return "expected";
  if (!live) return ["away", ...(activated ? [] : ["deactivated"]), ...(expected ? ["expected"] : [])].join(", ");
  if (draining) return "draining";
  return activated ? "live" : "live, deactivated";
}

/** An id for a copy that no session has yet. */
export function copyOf(id: string, taken: readonly string[]): string {
  const stem = id.replace(/-\d+$/, "");
  for (let n = 2; ; n += 1) {
    const copy = `${stem}-${n}`;
    if (!taken.includes(copy)) return copy;
  }
}

const path = (id: string) => `api/v1/sessions/${encodeURIComponent(id)}`;

export const startSession = (id: string): Promise<Asked> => ask("POST", `${path(id)}/start`);
export const stopSession = (id: string, now: boolean): Promise<Asked> => ask("POST", `${path(id)}/stop`, { now });
export const cloneSession = (id: string, to: string): Promise<Asked> => ask("POST", `${path(id)}/clone`, { id: to });
export const deleteSession = (id: string): Promise<Asked> => ask("DELETE", path(id));
export const editSession = (id: string, change: SessionPatch): Promise<Asked> => ask("PATCH", path(id), change);
export const createSession = (made: NewSession): Promise<Asked> => ask("POST", "api/v1/sessions", made);
export const activateNode = (name: string, on: boolean): Promise<Asked> => ask("POST", `api/v1/nodes/${encodeURIComponent(name)}/${on ? "activate" : "deactivate"}`);
export const forgetNode = (name: string): Promise<Asked> => ask("DELETE", `api/v1/nodes/${encodeURIComponent(name)}`);
export const expectNode = (name: string): Promise<Asked> => ask("POST", "api/v1/nodes", { name });

export const markRun = (run: string, text: string): Promise<Asked> => ask("POST", `${pathOf(run)}/marks`, { text });

/** The server's check of a scenario file. */
export async function checkScenario(toml: string): Promise<ScenarioCheck> {
  const { answer, problem, mistakes } = await ask("POST", "api/v1/scenarios/check", { toml });
  if (problem !== "") return { keys: {}, mistakes: mistakes.length > 0 ? mistakes : [problem] };
  return answer as ScenarioCheck;
}
