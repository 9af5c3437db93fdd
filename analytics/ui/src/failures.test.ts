import { describe, expect, it } from "vitest";

import { documentOf, failureRows, filtered, matrixOf, quietFor, sumsOf, waitsKept } from "./failures";
import type { FailureFigures } from "./wire";

const failure = (name: string, count: number, more: Partial<FailureFigures> = {}): FailureFigures => ({
  scope: "request",
  name,
  class: "bad-nonce",
  status: 400,
  problem: "badNonce",
  detail: "",
  count,
  first_unix_ns: 0,
  last_unix_ns: 0,
  retry_after_min_ns: null,
  retry_after_max_ns: null,
  retry_kept: 0,
  retry_early: 0,
  trend: { step_s: 1, from_unix_s: 0, counts: [] },
  example: "JWS has an invalid anti-replay nonce",
  request_id: "",
  traceparent: "",
  document: "",
  node: "",
  seq: 0,
  ...more,
});

const rows = failureRows({
  failures: [
    failure("newOrder", 5),
    failure("finalize", 3),
    failure("newOrder", 2, { class: "rate-limited", status: 429, problem: "rateLimited", detail: "new orders" }),
    failure("certificate", 1, { scope: "chain", class: "timeout", status: 0, problem: "", example: "no answer within 30 s" }),
  ],
});

describe("a row", () => {
  it("says what failed and how, also without an answer", () => {
    expect(rows.map(({ what, kind }) => `${what}: ${kind}`)).toEqual([
      "request newOrder: 400 badNonce",
      "request finalize: 400 badNonce",
      "request newOrder: 429 rateLimited [new orders]",
      "chain certificate: timeout",
    ]);
  });

  it("has an id of its own", () => {
    expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
  });
});

describe("a filter", () => {
  const found = (scope: "" | "chain" | "request", text: string) => filtered(rows, { scope, text }).map(({ figures }) => figures.count);
  it("is by words, all of which a row has", () => {
    expect(found("", "neworder")).toEqual([5, 2]);
    expect(found("", "NewOrder 429")).toEqual([2]);
    expect(found("", " ")).toEqual([5, 3, 2, 1]);
    expect(found("", "no answer")).toEqual([1]);
  });

  it("is by scope", () => {
    expect(found("chain", "")).toEqual([1]);
    expect(found("request", "certificate")).toEqual([]);
  });
});

describe("the matrix", () => {
  it("has kinds by places, the largest first", () => {
    expect(matrixOf(rows)).toEqual({
      columns: ["newOrder", "finalize", "chain certificate"],
      rows: [
        { name: "badNonce", counts: [5, 3, 0], sums: { request: 8, chain: 0 } },
        { name: "rateLimited", counts: [2, 0, 0], sums: { request: 2, chain: 0 } },
        { name: "timeout", counts: [0, 0, 1], sums: { request: 0, chain: 1 } },
      ],
    });
  });

  it("adds no chain to the requests that made it fail", () => {
    expect(sumsOf(rows)).toEqual({ request: 10, chain: 1 });
    const refused = { class: "server-error", status: 500, problem: "serverInternal" } as const;
    const both = failureRows({ failures: [failure("newOrder", 46, refused), failure("authorization", 46, { ...refused, scope: "chain" })] });
    expect(matrixOf(both).rows.map(({ sums }) => sums)).toEqual([{ request: 46, chain: 46 }]);
  });

  it("puts what is too wide into its last column, and loses nothing", () => {
    const many = failureRows({ failures: Array.from({ length: 12 }, (_, n) => failure(`e${n}`, 12 - n)) });
    const { columns, rows } = matrixOf(many);
    expect(columns).toEqual(["e0", "e1", "e2", "e3", "e4", "e5", "e6", "others"]);
    expect(rows[0]?.counts.at(-1)).toBe(5 + 4 + 3 + 2 + 1);
    expect(rows[0]?.sums).toEqual({ request: 78, chain: 0 });
  });
});

describe("a kind of failure", () => {
  it.each([
    ["happened a moment ago", { count: 5, first_unix_ns: 10e9, last_unix_ns: 95e9 }, null],
    ["has stopped", { count: 100, first_unix_ns: 10e9, last_unix_ns: 20e9 }, 80e9],
    ["is rare, so that nothing follows from a pause", { count: 2, first_unix_ns: 10e9, last_unix_ns: 50e9 }, null],
    ["happened once", { count: 1, first_unix_ns: 50e9, last_unix_ns: 50e9 }, 50e9],
    ["has no time", { count: 3, first_unix_ns: 0, last_unix_ns: 0 }, null],
  ])("that %s", (_, figures, quiet) => {
    expect(quietFor(failure("newOrder", 0, figures), 100e9)).toBe(quiet);
  });

  it("says whether the waits were kept that the CA asked for", () => {
    const asked = { retry_after_min_ns: 3e9, retry_after_max_ns: 3e9 };
    expect(waitsKept(failure("newOrder", 5))).toBe("–");
    expect(waitsKept(failure("newOrder", 5, { ...asked, retry_kept: 5 }))).toBe("kept 5");
    expect(waitsKept(failure("newOrder", 5, { ...asked, retry_kept: 2, retry_early: 1 }))).toBe("kept 2, too early 1, not tried again 2");
  });
});

describe("a problem document", () => {
  it("has its members on lines of their own, with what cannot be seen as escapes", () => {
    expect(documentOf('{"type":"about:blank","subproblems":[{"detail":"a\u202eb"}]}')).toBe('{\n  "type": "about:blank",\n  "subproblems": [\n    {\n      "detail": "a\\u202eb"\n    }\n  ]\n}');
  });

  it("that was cut is shown as it came", () => {
    expect(documentOf('{"type":"about:bl')).toBe('{"type":"about:bl');
  });
});
