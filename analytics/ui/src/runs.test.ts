import { describe, expect, it } from "vitest";

import { RunList, standing, type Ground, type Listing } from "./runs";
import type { RunEntry } from "./wire";

const RUN: RunEntry = {
  id: "20261121-095602",
  session: "default",
  program: "wec 0.1.0",
  target: "https://127.0.0.1:14000/dir",
  started_unix_ns: 1e18,
  live: false,
  log: "results/20261121-095602.jsonl",
  log_bytes: 4096,
  outcome: null,
  note: "",
};

/** Answers in turn; the waits between them are over when `step` is called. */
function fake(...answers: (Response | Error)[]) {
  let waiting: (() => void) | undefined;
  const ground: Ground = {
    fetch: () => {
      const answer = answers.shift() ?? new Error("nothing more");
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
    later: (run) => ((waiting = run), 1),
    cancel: () => (waiting = undefined),
  };
  return { ground, step: () => waiting?.(), waits: () => waiting !== undefined };
}

/** The next update of a list. */
function telling() {
  let heard: (listing: Listing) => void = () => {};
  const next = () => new Promise<Listing>((resolve) => (heard = resolve));
  return { tell: (listing: Listing) => heard(listing), next };
}

const listed = (runs: unknown) => new Response(JSON.stringify({ runs }));

describe("the list of runs", () => {
  it("is fetched again, keeps what it has while it fails, and says why", async () => {
    const { ground, step } = fake(
      listed([RUN]),
      new Error("refused"),
      new Response('{"error":"the disk is gone"}', { status: 500 }),
      new Response("", { status: 401 }),
      listed([]),
    );
    const { tell, next } = telling();
    let told = next();
    new RunList(tell, ground);
    expect(await told).toEqual({ runs: [RUN], problem: "" });
    for (const problem of [/cannot be reached/, /^the disk is gone$/, /token/]) {
      told = next();
      step();
      const listing = await told;
      expect(listing.problem).toMatch(problem);
      expect(listing.runs).toEqual([RUN]);
    }
    told = next();
    step();
    expect(await told).toEqual({ runs: [], problem: "" });
  });

  it.each(["[]", "{", '{"runs":[{"id":1}]}', '{"runs":{}}'])("does not take %s for one", async (text) => {
    const { tell, next } = telling();
    const told = next();
    new RunList(tell, fake(new Response(text)).ground);
    expect(await told).toEqual({ runs: null, problem: expect.stringMatching(/not a list of runs|cannot be reached/) });
  });

  it("ends when it is closed", async () => {
    const { ground, waits } = fake(listed([]), listed([RUN]));
    const { tell, next } = telling();
    const told = next();
    const list = new RunList(tell, ground);
    await told;
    list.close();
    expect(waits()).toBe(false);
  });
});

describe("a run", () => {
  const outcome = (passed: boolean | null) => ({ elapsed_ns: 1, chains: 1, chains_failed: 0, passed });
  it.each([
    ["live", { live: true, outcome: outcome(null) }],
    ["passed", { live: false, outcome: outcome(true) }],
    ["failed", { live: false, outcome: outcome(false) }],
    ["undecided", { live: false, outcome: outcome(null) }],
    ["unread", { live: false, outcome: null }],
  ] as const)("is %s", (expected, run) => {
    expect(standing(run)).toBe(expected);
  });
});
