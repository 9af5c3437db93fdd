// What components decide by themselves: what they render for a run in some state. How they react to people is tested in
// a browser (test/).

import { render } from "svelte/server";
import type { Component } from "svelte";
import { afterEach, describe, expect, it } from "vitest";

import { CURRENT, START, type Period } from "./address";
import { failureRows } from "./failures";
import type { Phase } from "./live";
import Banner from "./parts/Banner.svelte";
import Downloads from "./parts/Downloads.svelte";
import Header from "./parts/Header.svelte";
import Load from "./parts/Load.svelte";
import Steer from "./parts/Steer.svelte";
import Tabs from "./parts/Tabs.svelte";
import Tiles from "./parts/Tiles.svelte";
import TimeBar from "./parts/TimeBar.svelte";
import Worst from "./parts/Worst.svelte";
import { rights } from "./rights.svelte";
import { router } from "./router.svelte";
import { merge } from "./series";
import Failures from "./tabs/Failures.svelte";
import StateTab from "./tabs/StateTab.svelte";
import { live, NO_SCENARIO, series } from "./testing";
import { RunView } from "./view.svelte";
import type { FailureFigures, Live, ScenarioView } from "./wire";

afterEach(() => {
  router.place = START;
  rights.steer = true;
});

/** The text of what a component renders, with a blank between elements. */
function said<Props extends Record<string, unknown>>(component: Component<Props>, props: Props): string {
  return htmlOf(component, props).replace(/<[^>]*>/g, " ").replace(/\s+/g, " ").trim();
}

function htmlOf<Props extends Record<string, unknown>>(component: Component<Props>, props: Props): string {
  const { body } = render(component as Component<Record<string, unknown>>, { props });
  return body.replace(/<!--.*?-->/g, "");
}

function liveWith(change: (live: Live) => void = () => undefined): Live {
  const made = live(series([103, 104]));
  change(made);
  return made;
}

function viewOf(of: Live | null, connection: Phase = "live", run = CURRENT): RunView {
  const view = new RunView(run);
  if (of !== null) {
    view.columns = merge(null, { ...of.series, reset: true });
    view.live = of;
  }
  view.connection = connection;
  return view;
}

const replay = { state: "playing" as const, position_ns: 1e9, length_ns: 4e9, speed: 1, started_unix_ns: 100e9, seeking: false };

describe("the header", () => {
  const states: [string, Live | null, Phase, string][] = [
    ["before the first answer", null, "connecting", "connecting"],
    ["of a run that does not exist", null, "missing", "no such run"],
    ["without a connection", liveWith(), "lost", "connection lost"],
    ["of a run that goes on", liveWith(), "live", "running"],
    ["of a paused run", liveWith(({ session }) => session !== null && (session.state = "paused")), "live", "paused"],
    ["of a run that is over", liveWith(), "ended", "finished"],
    ["without a run", liveWith(({ snapshot }) => (snapshot.run.started_unix_ns = 0)), "live", "waiting for a run"],
    ["of a log that grows", liveWith((live) => (live.source = "growing-log")), "live", "live, from its log"],
    ["of a run without a session", liveWith((live) => (live.session = null)), "live", "no session"],
    ["of a replay", liveWith((live) => (live.replay = replay)), "live", "replay, playing ×1"],
  ];
  it.each(states)("%s names the state", (_, of, phase, state) => {
    expect(htmlOf(Header, { view: viewOf(of, phase) })).toMatch(new RegExp(`</span>${state}</p>`));
  });

  it("has nothing left of a run that is over", () => {
    expect(said(Header, { view: viewOf(liveWith(), "live") })).toMatch(/0:05 of 1:00, 0:55 left/);
    expect(said(Header, { view: viewOf(liveWith(), "ended") })).toMatch(/of 1:00, 0:00 left/);
  });

  it("leads from an earlier run to the current one, and looks for a new one where the current one is over", () => {
    const current = liveWith((live) => (live.current = "run-2"));
    expect(said(Header, { view: viewOf(current, "ended", "run-1") })).toMatch(/Current run/);
    expect(said(Header, { view: viewOf(liveWith(), "ended") })).toMatch(/Look for a new run/);
    expect(said(Header, { view: viewOf(liveWith(), "live") })).not.toMatch(/Current run|Look for/);
  });
});

describe("the tiles", () => {
  it("are of the latest seconds while the run goes on, and of all of it at its end", () => {
    const of = liveWith(({ snapshot }) => (snapshot.issued = { ...snapshot.issued, count: 1_200, per_second: 20 }));
    expect(said(Tiles, { view: viewOf(of), live: of })).toMatch(/^Issued 5\.00 \/s 1\s200 in all/);
    expect(said(Tiles, { view: viewOf(of, "ended"), live: of })).toMatch(/^Issued, whole run 20\.0 \/s/);
  });

  it("lead to the steps of a capacity search", () => {
    const of = liveWith((live) => (live.capacity = { status: "", over: false, sustained: null, failed: null, steps: [] }));
    expect(htmlOf(Tiles, { view: viewOf(of), live: of })).toContain('href="?tab=capacity"');
    expect(htmlOf(Tiles, { view: viewOf(liveWith()), live: liveWith() })).not.toContain("tab=capacity");
  });
});

describe("the tabs", () => {
  it("count kinds of failures and of warnings, and mark the one that is open", () => {
    router.place = { ...START, tab: "failures" };
    const { snapshot } = liveWith(({ snapshot }) => (snapshot.failures = [FAILURE, { ...FAILURE, name: "finalize" }]));
    const html = htmlOf(Tabs, { snapshot });
    expect(html).toMatch(/aria-current="page"[^>]*>\s*Failures<span class="number [^"]*bad[^"]*"[^>]*>2/);
    expect(html).toMatch(/Log<span class="number [^"]*zero[^"]*"[^>]*>0/);
  });
});

describe("the bar of the period", () => {
  const bar = (of: Live, phase: Phase, period: Period | null, change: (view: RunView) => void = () => undefined) => {
    router.place = { ...START, period };
    const view = viewOf(of, phase);
    change(view);
    return said(TimeBar, { view });
  };

  it("tells what the figures are of", () => {
    expect(bar(liveWith(), "live", null)).toMatch(/Charts: last 2:00\. Figures and tables: the run so far\. Choose a period/);
    expect(bar(liveWith(), "live", { last: 600 })).toMatch(/Figures and tables: the run so far\. Drag/);
    expect(bar(liveWith(), "ended", null)).toMatch(/Figures and tables: the whole run, which ended/);
    expect(bar(liveWith(), "live", { from: 1, to: 2 })).toMatch(/Reading the figures of this period/);
    expect(bar(liveWith((live) => (live.replay = replay)), "live", null)).toMatch(/the replay so far/);
    expect(bar(liveWith(), "live", { from: 1, to: 2 }, (view) => (view.partProblem = "analytics cannot be reached"))).toMatch(/cannot be had: analytics cannot be reached\. Those below are of the whole run/);
  });
});

const scenario = (change: Partial<ScenarioView> = {}): ScenarioView => ({ state: "running", workers: 50, rate: null, rate_unit: "", weights: {}, scheduled: false, values: [NUMBER], ...change });
const NUMBER = { key: "workers", label: "Workers", unit: "", whole: true, most: 1_000_000, value: 50 };
const RATE = { ...NUMBER, key: "rate", label: "Rate", unit: "chains/s", value: 40 };
const scenarios = (of: Record<string, ScenarioView>) => liveWith(({ session }) => session !== null && (session.scenarios = of));

describe("steering", () => {
  it("has the main value of the only scenario at hand: its rate, else its workers", () => {
    expect(htmlOf(Steer, { live: scenarios({ default: scenario() }), phase: "live" })).toContain("Workers");
    const rated = htmlOf(Steer, { live: scenarios({ default: scenario({ rate: 40, rate_unit: "chains", values: [NUMBER, RATE] }) }), phase: "live" });
    expect(rated).toContain("Rate");
    expect(rated).not.toContain("Workers");
    expect(said(Steer, { live: scenarios({ a: scenario(), b: scenario() }), phase: "live" })).toMatch(/Steer 2 scenarios$/);
  });

  const disabled = (of: Live, phase: Phase) => /<input[^>]* disabled/.test(htmlOf(Steer, { live: of, phase }));
  it("changes nothing that is over, that is not connected, or that the token does not allow", () => {
    const one = scenarios({ default: scenario() });
    expect(disabled(one, "live")).toBe(false);
    expect(disabled(one, "lost")).toBe(true);
    expect(disabled(scenarios({ default: scenario({ state: "ended" }) }), "live")).toBe(true);
    rights.steer = false;
    expect(disabled(one, "live")).toBe(true);
  });

  it("names scenarios where there are several, and says that stages set a value", () => {
    expect(said(Load, { live: scenarios({ default: scenario() }), phase: "live" })).not.toMatch(/default/);
    const both = scenarios({ issue: scenario({ scheduled: true }), renew: scenario({ scheduled: true, state: "ended" }) });
    const text = said(Load, { live: both, phase: "live" });
    expect(text).toMatch(/issue.*renew/);
    expect(text.match(/Stages set the value/g)).toHaveLength(1);
  });

  it("warns beside the scenario that drops iterations", () => {
    const of = scenarios({ default: scenario({ rate: 40, rate_unit: "chains", values: [RATE] }) });
    of.snapshot.scenarios = { default: { ...NO_SCENARIO, executor: "constant-arrival-rate", rate: 20, due: 100, dropped: 50 } };
    expect(htmlOf(Load, { live: of, phase: "live" })).toMatch(/role="alert"[^>]*>[^<]*50/);
  });
});

const FAILURE: FailureFigures = { scope: "request", name: "newOrder", class: "problem", status: 500, problem: "serverInternal", count: 7, first_unix_ns: 101e9, last_unix_ns: 104e9, detail: "", retry_after_min_ns: null, retry_after_max_ns: null, retry_kept: 0, retry_early: 0, trend: { step_s: 1, from_unix_s: 100, counts: [7] }, example: "the database is locked", request_id: "", traceparent: "", document: "", node: "", seq: 0 };

describe("failures", () => {
  const failed = (change: Partial<FailureFigures>) => liveWith(({ snapshot }) => (snapshot.failures = [{ ...FAILURE, ...change }])).snapshot;

  it("go on, or lasted until the end of what is over", () => {
    expect(said(Failures, { snapshot: failed({}), over: false })).toMatch(/goes on/);
    expect(said(Failures, { snapshot: failed({}), over: true })).toMatch(/until the end/);
  });

  it("tell how to see some where nothing has failed", () => {
    expect(said(Failures, { snapshot: liveWith().snapshot, over: false })).toMatch(/Nothing has failed.*--fault/);
  });

  it("open the example of the row in the address", () => {
    const snapshot = failed({ request_id: "r-12" });
    expect(htmlOf(Failures, { snapshot, over: false })).not.toContain('id="example"');
    router.place = { ...START, tab: "failures", row: failureRows(snapshot)[0]?.id ?? "" };
    const html = htmlOf(Failures, { snapshot, over: false });
    expect(html).toContain('id="example"');
    expect(html).toContain("grep -F 'r-12' LOG");
    expect(html).not.toContain("<pre");
  });

  it("show the CA's problem document and the place of the record", () => {
    const snapshot = failed({ document: '{"detail":"<b>no</b>","instance":"https://ca.test/1"}', node: "r1", seq: 7 });
    router.place = { ...START, tab: "failures", row: failureRows(snapshot)[0]?.id ?? "" };
    const html = htmlOf(Failures, { snapshot, over: false });
    expect(html).toMatch(/<pre[^>]*>\{\s+"detail": "&lt;b>no&lt;\/b>",\s+"instance": "https:\/\/ca\.test\/1"\s+\}<\/pre>/);
    expect(html).toMatch(/"node":"r1".*"seq":7,/);
  });
});

describe("what needs state", () => {
  it("waits while there is none", () => {
    const of = liveWith(({ snapshot }) => Object.assign(snapshot.state, { registrations: 0, certificates: 3 }));
    const rows = htmlOf(StateTab, { view: viewOf(of), live: of, snapshot: of.snapshot }).split("<tr").map((row) => row.replace(/<[^>]*>/g, " ").replace(/\s+/g, " "));
    expect(rows.find((row) => row.includes("authorization") && row.includes("a registration"))).toMatch(/✗ waits/);
    expect(rows.find((row) => row.includes("revoke") && row.includes("a certificate"))).toMatch(/✓ may be chosen/);
    expect(rows.find((row) => row.includes("registration") && row.includes("nothing"))).toMatch(/✓ may be chosen/);
  });
});

describe("small parts", () => {
  it("the worst says so where nothing failed and nothing has enough answers", () => {
    expect(said(Worst, { snapshot: liveWith().snapshot })).toMatch(/Nothing has failed.*No endpoint has the 200 answers/);
  });

  it("downloads are of the run, whatever its id", () => {
    const html = htmlOf(Downloads, { run: "a b/c", log: "x" });
    for (const path of ["report", "snapshot", "log"]) expect(html).toContain(`href="api/v1/runs/a%20b%2Fc/${path}"`);
  });

  it("the banner covers the page only without a connection", () => {
    const banner = (phase: Phase) => htmlOf(Banner, { phase, why: "", replayed: false, asOf: 100, retry: () => undefined });
    expect(banner("lost")).toMatch(/class="banner lost/);
    expect(banner("ended")).not.toContain('class="banner');
    expect(banner("live")).not.toContain('class="banner');
  });
});
