import { expect, it } from "vitest";

import { achieved, alarms } from "./load";
import { NO_SCENARIO } from "./testing";
import type { ScenarioFigures, ScenarioView } from "./wire";

const figures = (changes: Partial<ScenarioFigures>): ScenarioFigures => ({ ...NO_SCENARIO, workers: 12, busy: 9, rate: 49.84, ...changes });
const target: ScenarioView = { state: "running", workers: 100, rate: 50, rate_unit: "chains", weights: {}, scheduled: false, values: [] };
const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, " ");

it("shows what is reached beside what is wanted", () => {
  const said = (changes: Partial<ScenarioFigures>, wanted = target) => plain(achieved(figures(changes), wanted));
  expect(said({})).toBe("now 49.8 of 50 chains/s with 12 workers, 9 busy");
  expect(said({ reach: "reached" }, { ...target, rate_unit: "requests" })).toBe("now 49.8 of 50 requests/s (reached) with 12 workers, 9 busy");
  expect(said({ workers: 1 }, { ...target, rate: null })).toBe("now 1 worker, 9 busy");
  expect(said({ workers: 0 }, { ...target, state: "waiting" })).toBe("waits for another scenario to end");
  expect(said({}, { ...target, state: "ended" })).toBe("ended: no more iterations of it start, 9 finishing");
  expect(said({ workers: 1, busy: 0, backing_off: 1 }, { ...target, rate: null })).toBe("now 1 worker, 0 busy, 1 backing off after failures");
  expect(said({ busy: 0 }, { ...target, state: "ended" })).toBe("ended: no more iterations of it start");
});

it("is loud about what was dropped and about a rate that cannot be reached", () => {
  const said = (changes: Partial<ScenarioFigures>) => alarms(figures(changes), target).map(plain);
  expect(said({ reach: "reached", saturated_ns: 4e9 })).toEqual([]);
  expect(said({ due: 2_000, dropped: 24 })).toEqual([
    "Dropped: 24 iterations of 2 000 that were due (1.2 %), because all 100 workers were busy.",
  ]);
  expect(said({ reach: "saturated", saturated_ns: 12e9 })).toEqual([
    "Saturated: more workers do not increase the rate, this is the CA's limit. For 12.0 s so far.",
  ]);
  expect(said({ reach: "capped" })).toEqual(["Capped: 100 workers at most are too few for this rate at the CA’s response time."]);
});
