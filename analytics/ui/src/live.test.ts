import { describe, expect, it } from "vitest";

import { Subscription, type Ground, type Phase } from "./live";
import { live, series } from "./testing";

/** An EventSource whose server is the test. */
class FakeSource extends EventTarget {
  readyState = 1;
  closed = false;
  close() {
    this.closed = true;
  }
  say(event: "live" | "end" | "reading" | "refused", data: string) {
    this.dispatchEvent(new MessageEvent(event, { data }));
  }
  fail(readyState: 0 | 2) {
    this.readyState = readyState;
    this.dispatchEvent(new Event("error"));
  }
}

function subscribe(answer: () => Promise<Response> = () => Promise.reject(new Error("unreachable"))) {
  const sources: FakeSource[] = [];
  const timers = new Map<number, { run: () => void; ms: number }>();
  const phases: [Phase, string][] = [];
  let events = 0;
  let read = -1;
  let id = 0;
  const ground: Ground = {
    open: () => {
      const source = new FakeSource();
      sources.push(source);
      return source as unknown as EventSource;
    },
    fetch: answer,
    later: (run, ms) => (timers.set((id += 1), { run, ms }), id),
    cancel: (timer) => timers.delete(timer),
  };
  const subscription = new Subscription("api/v1/runs/current", { live: () => (events += 1), reading: ({ read_bytes }) => (read = read_bytes), phase: (...phase) => phases.push(phase) }, ground);
  return {
    subscription,
    sources,
    timers,
    phases,
    latest: () => sources.at(-1) as FakeSource,
    events: () => events,
    read: () => read,
    /** Lets the only timer fire; its wait in milliseconds. */
    fire: () => {
      const [[timer, { run, ms }]] = [...timers] as [[number, { run: () => void; ms: number }]];
      timers.delete(timer);
      run();
      return ms;
    },
  };
}

const EVENT = JSON.stringify(live(series([100])));

describe("the subscription", () => {
  it("hands on what comes", () => {
    const page = subscribe();
    page.latest().say("live", EVENT);
    page.latest().say("live", EVENT);
    expect(page.events()).toBe(2);
    expect(page.phases.at(-1)).toEqual(["live", ""]);
  });

  it("leaves reconnecting to the browser, which knows the last event's id", () => {
    const page = subscribe();
    page.latest().say("live", EVENT);
    page.latest().fail(0);
    expect(page.phases.at(-1)).toEqual(["lost", ""]);
    expect(page.sources).toHaveLength(1);
    page.latest().say("live", EVENT);
    expect(page.phases.at(-1)).toEqual(["live", ""]);
  });

  it("opens anew, later each time, when the browser gave up", () => {
    const page = subscribe();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 5; attempt += 1) {
      page.latest().fail(2);
      waits.push(page.fire());
    }
    expect(waits).toEqual([500, 1_000, 2_000, 5_000, 5_000]);
    expect(page.sources).toHaveLength(6);
    page.latest().say("live", EVENT);
    page.latest().fail(2);
    expect(page.fire()).toBe(500);
  });

  it("takes silence for a lost connection and opens anew", () => {
    const page = subscribe();
    page.latest().say("live", EVENT);
    expect(page.fire()).toBe(5_000);
    expect(page.phases.at(-1)).toEqual(["lost", ""]);
    expect(page.sources).toHaveLength(2);
    expect(page.sources[0]?.closed).toBe(true);
  });

  it("ends with the run and does not reconnect", () => {
    const page = subscribe();
    page.latest().say("end", EVENT);
    expect(page.phases.at(-1)).toEqual(["ended", ""]);
    expect(page.latest().closed).toBe(true);
    expect(page.timers.size).toBe(0);
  });

  it("waits while the log of the run is read", () => {
    const page = subscribe();
    page.latest().say("reading", '{"log":"results/a.jsonl","read_bytes":34,"log_bytes":100}');
    expect(page.read()).toBe(34);
    expect(page.phases.at(-1)).toEqual(["connecting", ""]);
    expect([...page.timers.values()].map(({ ms }) => ms)).toEqual([5_000]);
    page.latest().say("end", EVENT);
    expect(page.phases.at(-1)).toEqual(["ended", ""]);
  });

  it("says why a log cannot be read, and tries again", () => {
    const page = subscribe();
    page.latest().say("refused", '{"error":"cannot read a.jsonl"}');
    expect(page.phases.at(-1)).toEqual(["lost", "cannot read a.jsonl"]);
    expect(page.latest().closed).toBe(true);
    expect(page.fire()).toBe(500);
    expect(page.sources).toHaveLength(2);
  });

  it("looks for another run when asked", () => {
    const page = subscribe();
    page.latest().say("end", EVENT);
    page.subscription.retry();
    expect(page.phases.at(-1)).toEqual(["connecting", ""]);
    page.latest().say("live", EVENT);
    expect(page.phases.at(-1)).toEqual(["live", ""]);
  });

  it("says that a token is wanted", async () => {
    const page = subscribe(() => Promise.resolve(new Response("", { status: 401 })));
    page.latest().fail(2);
    await expect.poll(() => page.phases.at(-1)?.[1]).toMatch(/requires a token: reload this page to log in/);
  });

  it("does not try again for a run that does not exist", async () => {
    const page = subscribe(() => Promise.resolve(new Response('{"error":"there is no run \\"x\\""}', { status: 404 })));
    page.latest().fail(2);
    await expect.poll(() => page.phases.at(-1)).toEqual(["missing", 'there is no run "x"']);
    expect(page.timers.size).toBe(0);
    page.subscription.retry();
    expect(page.phases.at(-1)).toEqual(["connecting", ""]);
  });

  it("says why it cannot read an event, and shows nothing of it", () => {
    const page = subscribe();
    page.latest().say("live", EVENT.replace('"version":1', '"version":9'));
    expect(page.events()).toBe(0);
    expect(page.phases.at(-1)?.[1]).toMatch(/version 9/);
  });

  it("leaves no timer behind when closed", () => {
    const page = subscribe();
    page.subscription.close();
    expect(page.timers.size).toBe(0);
    expect(page.latest().closed).toBe(true);
  });
});
