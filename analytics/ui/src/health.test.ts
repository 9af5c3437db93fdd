import { expect, it } from "vitest";

import { warnings } from "./health";
import { live, series } from "./testing";

it("nothing is doubted in a healthy run", () => {
  expect(warnings(live(series([])))).toEqual([]);
});

it("everything that is missing is said, with its number", () => {
  const value = live(series([]));
  value.health.log_error = "No space left on device";
  value.health.gaps = 3;
  value.health.queued_batches = 1024;
  value.snapshot.missing.lost_results = 1;
  expect(warnings(value).join("\n").replace(/[\u00a0\u202f]/g, " ")).toBe(
    [
      "the log cannot be written: No space left on device",
      "1 result lost at a requester whose queue and spool were full",
      "3 records numbered by a sender never came",
      "analytics is behind: 1 024 batches wait, senders are held back",
    ].join("\n"),
  );
});
