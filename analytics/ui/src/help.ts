// The help of each panel and chart: what it shows, where its figures come from, and each heading with its unit. One table:
// a panel shows it beside its title (parts/Help.svelte), and a heading under the pointer.

import { PARTS, PHASES } from "./measured";
import { needs, TIMING_COLUMNS } from "./timing";

export interface Topic {
  /** What is shown. */
  what: string;
  /** Where the figures come from. */
  source: string;
  /** Headings and figures: what each is, with its unit. */
  terms: Readonly<Record<string, string>>;
}

const RESULTS = "The results that requesters send for each iteration of a chain, with all its requests.";
const SAMPLES = "Samples of its load that each requester takes once a second.";
const HITS = "Hits that the challenge servers report.";
const BOARD = "The board, on which processes and people write what they do and want.";

const FIRST = "When it happened first, clock time";
const LAST = "When it happened last, clock time";
const TREND = "How often it happened, over the time shown; the highest bar has the figure";
const WAIT = "How long the CA asked to wait by Retry-After: the shortest and the longest";
const KEPT = "Whether the next request to the same endpoint was sent no sooner than the CA asked";

/** Of what a percentile over time is; see `ChainSeries` of the API. */
export const RECENT = "A percentile is of the shortest time before each point that has the samples it needs, at most a minute: p50 needs 20, p95 200, p99 1,000. A line ends where too few come.";

const byLabel = (columns: readonly { label: string; title: string }[]) => Object.fromEntries(columns.map(({ label, title }) => [label, title]));

export const HELP: Readonly<Record<string, Topic>> = {
  header: {
    what: "The figures that answer the first questions about a run. Each leads to the tab that explains it. While a run goes on, rates and shares are of the last 5 s; of a run that is over they are of all of it.",
    source: `${RESULTS} What is asked for is on the board.`,
    terms: {
      Issued: "Certificates issued a second, by the chains that issue; below it the number in all",
      "Issued, whole run": "Certificates issued a second since the start; below it the number in all",
      "Issuance p95": "95th percentile of the response time of a whole issuance, newOrder to certificate, since the start, without the time that a ready order waits here; needs 200 issuances",
      "Issuance p50": "Their median, until there are 200",
      Failed: "Share of iterations of chains that failed; below it how many in all, and the share of requests",
      Workers: "Workers at work beside those asked for; below it requests a second and in all",
      "Target, chains": "Chains started a second beside those asked for",
      "Target, requests": "Requests sent a second beside those asked for",
      "Load tester": "Whether the load tester keeps up with its own schedule; else the figures are not the CA’s alone. Lag is how much later than due something ran",
      Verdict: "How many of the thresholds hold",
      "Verdict so far": "How many of the thresholds hold until now",
    },
  },
  throughput: {
    what: "What ends each second. Dashed lines are the targets where a rate is asked for.",
    source: `${RESULTS} Targets: ${SAMPLES}`,
    terms: { issued: "Certificates a second", requests: "HTTP attempts a second, successful or not", chains: "Iterations of all chains a second", target: "The rate that is asked for, per second" },
  },
  "response-time": {
    what: `How long an iteration of each chain took, from when it was due to done, on a logarithmic axis. ${RECENT}`,
    source: `${RESULTS} Only those that succeeded.`,
    terms: {
      "p50, p95": "Median (whole line) and 95th percentile (dashed)",
      "to p99": "Median (whole line), 95th (dashed) and 99th percentile (dotted)",
      "CA’s part": "Mean of the whole time (whole line), and of the part that the CA and the network used (dashed): the rest is waiting and the load tester",
      mean: "Arithmetic mean of each point; needs one sample",
    },
  },
  errors: {
    what: "What fails each second. A failed request can make its chain fail.",
    source: RESULTS,
    terms: { requests: "Requests a second without the expected answer", chains: "Iterations a second that failed" },
  },
  classes: {
    what: "Chains that fail each second, by the class of the failure, which says who is at fault; the first six classes.",
    source: RESULTS,
    terms: {},
  },
  workers: {
    what: "Workers: each runs one chain after another.",
    source: SAMPLES,
    terms: { alive: "Workers that exist", busy: "Workers that run an iteration", "asked for": "The number that is asked for; with a rate, the most that are allowed" },
  },
  lag: {
    what: `How much later than due the load tester itself ran, on a logarithmic axis. ${RECENT}`,
    source: SAMPLES,
    terms: { largest: "The largest lag of the second", p99: "99th percentile" },
  },
  validations: {
    what: "What the CA asked the challenge servers, by challenge type and outcome; the chart has the hits a second.",
    source: HITS,
    terms: {
      validations: "Hits a second",
      type: "Challenge type",
      outcome: "What was answered, or why not",
      count: "Hits",
      mean: "From arrival to answer, arithmetic mean",
      max: "From arrival to answer, largest",
    },
  },
  transfer: {
    what: "Bytes between the load tester and the CA, KiB a second, without TLS.",
    source: RESULTS,
    terms: { received: "Bodies of answers", sent: "Heads and bodies of requests" },
  },
  state: {
    what: "What the state store holds for the chains.",
    source: "The latest report of a requester in each point.",
    terms: { registrations: "Accounts", "ready orders": "Orders that can be finalized", certificates: "Certificates that are neither revoked nor replaced" },
  },
  observed: {
    what: "A metric of another program beside the load. Those that moved most with the response times come first; that proves no cause.",
    source: "The sources that were named with --observe.",
    terms: {},
  },
  fleet: {
    what: "The fleet of clients that the scenario simulates.",
    source: "Samples of the fleet’s figures.",
    terms: {},
  },
  worst: {
    what: "What fails most, and the endpoints with the slowest answers. Each leads to its details.",
    source: RESULTS,
    terms: {},
  },
  thresholds: {
    what: "The conditions that the run must meet to pass; they are also its exit code.",
    source: "All results so far, or windows of time where the threshold has them.",
    terms: {
      verdict: "Whether it holds; undecided with too few samples",
      threshold: "The condition as it was written",
      value: "The figure now, or that of the worst window",
      limit: "The bound",
      "judged by": "Number of samples N, or the windows of time",
    },
  },
  generator: {
    what: "Whether the load tester itself kept up. Where it did not, the figures are not the CA’s alone.",
    source: SAMPLES,
    terms: {
      "lag p99": "How much later than due something ran, 99th percentile",
      "lag, largest": "How much later than due something ran, largest, until there are 1,000 samples",
      "busiest thread": "Share of the latest second for which the busiest worker thread ran",
      "kept waiting": "Share of the latest second for which that thread had no processor",
      "queue of results": "How full the queue to analytics is",
      dropped: "Share of iterations that were due and had no worker",
      "of its ceiling": "Requests a second as a share of what wec calibrate reached on this machine",
    },
  },
  changes: {
    what: "Each change of the load, with who made it: a person, a stage or the load tester.",
    source: "Marks in the run’s log.",
    terms: { at: "Clock time", by: "Who made it", what: "The value before and after" },
  },
  statistics: {
    what: "Times and counts of all requests, chains, endpoints, profiles, challenge types, scenarios and nodes. A name opens its row. Response time is done − due: it includes the queue of the load tester. Service time is done − sent. The small figures are the ends of the 95 % confidence interval.",
    source: `${RESULTS} Times are of those that succeeded.`,
    terms: {
      what: "Chain, endpoint, profile, challenge type, scenario or node",
      count: "How many ended; of a period, in that period",
      failed: "How many had not the expected answer; of chains, iterations that failed",
      "per second": "Over the run or the period; of scenarios, now",
      ...Object.fromEntries(TIMING_COLUMNS.map((column) => [column.label, `${column.title}; needs ${needs(column)}`])),
      "failed/s": "Failed per second, over the run or the period",
      bytes: "Mean length of an answer’s body",
    },
  },
  details: {
    what: "One row of the statistics: its percentiles with their 95 % intervals (grey), its histogram, its times over time, and its failures.",
    source: RESULTS,
    terms: {
      mean: "Arithmetic mean and its standard error",
      largest: "The largest time",
      failed: "How many failed, of all",
      "mean of those that failed": "Their times, which are in no other figure",
      "an answer’s body, mean": "Mean length of an answer’s body",
      "first byte, p50": "From sent to the head of the answer, median",
      "on a new connection": "Requests that were the first on their connection",
      "not known if processed": "Sent, without a readable answer",
      from: "The shortest time of a bar; over time, the start of the stretch",
      to: "The longest time of a bar",
      count: "Number of times",
      shortest: "The start of the first bar of the stretch",
      "most often": "The bar with most times in the stretch",
      longest: "The end of its last bar",
      "up to here": "Share of all times in this bar and those before it",
      Histogram: "How many times were of which length; bars are an eighth of a doubling wide",
      "Over time": "The same over the run; the darker, the more times",
      ended: "When it ended, clock time",
      response: "Response time: done − due",
      service: "Service time: done − sent",
      requests: "Requests of the chain, with all attempts",
      status: "HTTP status",
      chain: "The chain that sent it",
      record: "Node and number of its record in the log",
      traceparent: "The trace that it belongs to, if it was sent",
    },
  },
  example: {
    what: "The first failure of a kind, with what the CA answered: its problem document as it came, up to 1,024 bytes, and where its record is in the log.",
    source: RESULTS,
    terms: {
      count: "How many failed so, and their share of all failed requests or chains",
      class: "Class of the failure, which says who is at fault",
      "first seen, of this example": FIRST,
      "last seen": LAST,
      "since then": "Whether it goes on",
      "retry after": WAIT,
      "the wait was": KEPT,
      "trend, of the time shown": TREND,
      "request id of the CA": "By which the CA’s own log can be searched",
      traceparent: "The trace that it belongs to, if it was sent",
    },
  },
  failures: {
    what: "What failed, by endpoint or chain and by kind, most frequent first. A name opens its first example. A failed request can make its chain fail, so that both are here.",
    source: RESULTS,
    terms: {
      what: "The endpoint of the requests, or the chain",
      count: "How many failed so",
      "status, problem, detail": "HTTP status, type of the CA’s problem document, and what distinguishes it",
      class: "Class of the failure, which says who is at fault",
      first: FIRST,
      last: LAST,
      "since then": "Whether it goes on: it counts as over when nothing of it happened for 10 s and for five times the mean time between two",
      trend: TREND,
      "retry after": WAIT,
    },
  },
  "failure-matrix": {
    what: "Failures by problem and by place. Requests and chains have a sum of their own, because a failed request can make its chain fail.",
    source: RESULTS,
    terms: { "problem or class": "Type of the CA’s problem document, else the class of the failure", requests: "Failed requests of the line", chains: "Failed iterations of the line" },
  },
  limits: {
    what: "Answers 429, and how long the CA asked to wait.",
    source: RESULTS,
    terms: { limit: "The limit that the CA named", where: "Endpoint or chain", count: "Answers", "retry after": WAIT, "the wait was": KEPT, first: FIRST, last: LAST, trend: TREND },
  },
  objects: {
    what: "What the CA made and the chains can use. A chosen period changes “made” only.",
    source: "The latest report of a requester, and the results.",
    terms: { object: "Kind of object", now: "Objects that can be used now", "as a bar": "The same beside the others", made: "Made in the run or the period", by: "The chains that make it", limit: "The number at which no more are made; with what earlier runs with the same state made" },
  },
  choosable: {
    what: "A worker takes a chain only if what it needs is in the state store.",
    source: "The latest report of a requester, and the results.",
    terms: { chain: "The chain", needs: "The object that it uses", now: "Whether there is one", ended: "Iterations that ended" },
  },
  losses: {
    what: "Objects that exist and that no chain can take, and what is known about clocks.",
    source: "The latest report of a requester, and the results.",
    terms: {
      "claimed by running chains now": "Orders, certificates and exclusive accounts that a running chain uses, so that no other chain of any process may",
      "ready orders dropped as expired": "Orders that expired before a chain finalized them",
      "changes that the store lacks": "Changes at the CA that could not be written to the state store",
      "CA’s clock": "Its Date header beside the requesters’ clocks, seconds",
      "orders left unfinished on purpose": "By the share of orders that a plan abandons",
      "workers without a chain to run": "How often a worker of the scenario found no chain that the state allows",
    },
  },
  "whole-validations": {
    what: "From the answered challenge to the settled authorization, divided by the hits at the challenge servers. Their clock may differ from the requesters’.",
    source: `${RESULTS} ${HITS}`,
    terms: {
      challenge: "Challenge type",
      N: "Authorizations that were settled, valid or not",
      mean: "Challenge answered to authorization settled, arithmetic mean",
      p95: "The same, 95th percentile; needs 200 samples",
      "to first hit": "Challenge answered to the first hit, mean",
      "between hits": "First to last hit, mean; 0 with one hit",
      "after last hit": "Last hit to authorization settled, mean",
      "parts as a bar": "The three parts as shares of their sum",
      "hits each": "Hits for each authorization that was settled",
      "asked from": "From how many addresses the CA asked for one authorization, with the number of authorizations",
      "without hits": "Authorizations without a hit for their name",
    },
  },
  "hit-sources": {
    what: "The addresses that the CA validates from.",
    source: HITS,
    terms: { address: "Source address", hits: "Hits from it", share: "Of all hits", unknown: "Hits for which no challenge data was stored" },
  },
  "unknown-hits": {
    what: "The latest hits without challenge data: too late, or of another client of the CA.",
    source: HITS,
    terms: { name: "The name that was asked for", type: "Challenge type", from: "Source address", at: "Clock time" },
  },
  connections: {
    what: "What is needed beside the requests themselves: nonces, connections, repeated attempts, bytes.",
    source: RESULTS,
    terms: {
      "nonces fetched": "Requests made only to fetch a nonce",
      "fetches each issuance": "Nonces fetched by certificates issued; a client that uses each answer’s nonce needs few",
      badNonce: "Share of signed requests that were refused with badNonce",
      "age at use, p50": "Time between the answer that brought a nonce and its use, median",
      "connections reused": "Share of requests that were not the first on their connection",
      "sent again": "How often a request was sent again over a new connection, because its reused one was closed before an answer",
      retries: "Repeated attempts of a step after badNonce, 429 or 503",
      polls: "Requests that check whether an object has reached its state",
      sent: "Heads and bodies of requests",
      received: "Bodies of answers",
    },
  },
  phases: {
    what: "The phases of a request, means of all, successful or not; – where the phase did not occur.",
    source: RESULTS,
    terms: { endpoint: "Endpoint and method", new: "Requests that were the first on their connection, or had none", reused: "Requests on a connection that was open", ...byLabel(PHASES), "first byte, p95": "From sent to the head of the answer, 95th percentile; needs 200 samples" },
  },
  times: {
    what: "Where the time of a successful iteration went, started to done, means; the parts add up.",
    source: RESULTS,
    terms: { chain: "The chain", N: "Successful iterations", mean: "Started to done", ...byLabel(PARTS) },
  },
  agents: {
    what: "Machines that sessions can use. A deactivated one takes no further session.",
    source: BOARD,
    terms: {
      agent: "Name of the machine",
      state: "Whether it is there, and takes sessions",
      "group, labels": "By what a session can choose it",
      "can do": "What it can do, all its sessions together",
      sessions: "Its sessions, and how far it is with each",
      version: "The program that it runs",
      since: "When its agent started last",
      change: "What can be done with it",
    },
  },
  processes: {
    what: "The processes on the board, with the figures of their machines.",
    source: `${BOARD} Machines: node statistics.`,
    terms: {
      name: "Name of the process",
      kind: "What it does",
      state: "How far it is",
      session: "The session that it works for",
      version: "The program",
      workers: "Workers that it can run now; its share of the load is by its strength",
      share: "Its share of the load",
      "requests/s": "Requests a second in the run of this page",
      lag: "How much later than due its work ran in the run of this page: 99th percentile, else the largest",
      CPU: "Use of all processors of its machine",
      memory: "Memory of the machine in use",
      disk: "Disk of the machine in use",
      clock: "Its clock beside the board’s time, and the bound of the error",
    },
  },
  sessions: {
    what: "What agents run, and what runs follow. A name opens its keys, parts and changes.",
    source: BOARD,
    terms: { session: "Name of the session", state: "How far it is", since: "When the state began", target: "Directory of the CA", "meant for": "The agents that take it", runs: "Runs of it; leads to the latest", change: "What can be done with it" },
  },
  "session-keys": { what: "The keys of the session’s scenario, as the server read them.", source: BOARD, terms: {} },
  "session-parts": { what: "The agents that take the session, and its changes, latest first.", source: BOARD, terms: {} },
  runs: {
    what: "Runs that have a log, latest first. Choose some to compare them.",
    source: "The folder of logs, and what each run’s log or index says of its end.",
    terms: {
      compare: "Choose the run for a comparison",
      run: "Id of the run, and the CA’s directory",
      verdict: "Whether its thresholds hold",
      started: "Start of the run",
      length: "From the start to the last record",
      chains: "Iterations of all chains that ended",
      failed: "Those of them that failed",
      session: "The session that it followed",
      note: "What people wrote about it",
      download: "The report, the figures, the statistics and the log",
    },
  },
  compare: {
    what: "Runs beside each other: each beside the earliest.",
    source: "The figures of the runs.",
    terms: { of: "Chain, endpoint or the whole run", figure: "What is compared", change: "Beside the earliest run", "its 95 % interval": "Between which ends the change is", "beyond noise": "Whether it is more than chance" },
  },
  capacity: {
    what: "The steps of a search for the highest rate that the CA sustains, and the curve of response times.",
    source: "The search, which judges the results of each step by itself.",
    terms: {
      "chains/s": "Rate of the step that is asked for",
      reached: "Rate that was reached, chains a second",
      p50: "Median of response times in the step",
      p95: "95th percentile in the step",
      N: "Samples of these times",
      failed: "Share of iterations that failed",
      verdict: "Whether the CA sustained the rate",
      why: "Why not",
    },
  },
  warnings: {
    what: "What the load tester’s own processes warn of, by cause, most frequent first.",
    source: "Events in the run’s log.",
    terms: { count: "How often", level: "Warning or error", first: FIRST, last: LAST, node: "The process", text: "What happened" },
  },
};

/** The topic of a panel; charts of other programs and of fleets share theirs. */
export function topicOf(id: string): Topic | undefined {
  return HELP[id] ?? (id.startsWith("fleet-") ? HELP["fleet"] : id.includes(" ") ? HELP["observed"] : undefined);
}

/** The text of a heading, without the sign of how it is sorted. */
export function termOf(topic: Topic, heading: string): string | undefined {
  return topic.terms[heading.replace(/ [↓↑]$/, "").trim()];
}
