// Sessions that agents run, as the page shows and changes them. Pure, but for the requests at the end.

import { ask, type Asked } from "./control";
import type { AgentView, NewSession, PartView, PlanView, ScenarioCheck, SessionEntry } from "./wire";

export type Action = "start" | "stop" | "delete";

/** What can be done with a session now; the server has the last word. */
export function actionsOf(plan: PlanView | null): readonly Action[] {
  switch (plan?.state) {
    case undefined:
      return [];
    case "running":
    case "stopping":
      return ["stop"];
    default:
      return ["start", "delete"];
  }
}

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
export const createSession = (made: NewSession): Promise<Asked> => ask("POST", "api/v1/sessions", made);
export const activateNode = (name: string, on: boolean): Promise<Asked> => ask("POST", `api/v1/nodes/${encodeURIComponent(name)}/${on ? "activate" : "deactivate"}`);
export const forgetNode = (name: string): Promise<Asked> => ask("DELETE", `api/v1/nodes/${encodeURIComponent(name)}`);
export const expectNode = (name: string): Promise<Asked> => ask("POST", "api/v1/nodes", { name });

/** The server's check of a scenario file. */
export async function checkScenario(toml: string): Promise<ScenarioCheck> {
  const { answer, problem, mistakes } = await ask("POST", "api/v1/scenarios/check", { toml });
  if (problem !== "") return { keys: {}, mistakes: mistakes.length > 0 ? mistakes : [problem] };
  return answer as ScenarioCheck;
}
