import { expect, it } from "vitest";

import { warnings } from "./health";
import { live, series } from "./testing";

it("nothing is doubted in a healthy run", () => {
  expect(warnings(live(series([])))).toEqual([]);
});

it("everything that is missing is said, with its number", () => {
  const value = live(series([]));
  value.health.log_error = "cannot write the log a.jsonl: No space left on device";
  value.health.log_problems = ["a, line 3 (byte 70) is not a record: it ends too early"];
  value.health.gaps = 3;
  value.health.queued_batches = 1024;
  value.snapshot.missing.lost_results = 1;
  const seen = { open: 0, accepted: 9, replaced: 0, slow: 0, unauthenticated: 0 };
  value.health.listeners = [
    { what: "the page", bound: 64, refused: 2, accept_errors: 0, ...seen },
    { what: "results", bound: 64, refused: 0, accept_errors: 1, ...seen },
  ];
  expect(warnings(value).join("\n").replace(/[\u00a0\u202f]/g, " ")).toBe(
    [
      "cannot write the log a.jsonl: No space left on device. The figures go on, but the log has no later record",
      "the log is not complete: a, line 3 (byte 70) is not a record: it ends too early",
      "1 result lost at their sender: the log’s lines “lost” have the reason",
      "3 records numbered by a sender never arrived",
      "analytics is behind: 1 024 batches wait, and senders must wait",
      "the page: 2 connections refused, all 64 places were taken",
      "results: 1 connection not accepted because resources ran out",
    ].join("\n"),
  );
});
