import { expect, it } from "vitest";

import { csvOf } from "./csv";
import { rowsOf } from "./statistics";
import { live, series } from "./testing";

const { snapshot } = live(series([100]));
snapshot.requests = 5;
snapshot.response_time_ns = { ...snapshot.response_time_ns, n: 5, mean: 2e6 };

it("has a line for each row, and an empty cell for what is not known", () => {
  const lines = csvOf(rowsOf(snapshot)).split("\r\n");
  expect(lines[0]).toMatch(/^group,name,detail,count,failed,per_second,bytes,response_n,response_mean_ns/);
  expect(lines[1]).toBe("all,requests,every HTTP attempt,5,0,0,0,5,2000000,,,,,,,,,,,,,,,,,,");
  expect(lines.at(-1)).toBe("");
  const width = lines[0]?.split(",").length;
  expect(lines.slice(0, -1).every((line) => line.split(",").length === width)).toBe(true);
});

it("quotes what a reader would take apart, and lets a spreadsheet compute nothing of a server’s text", () => {
  const [row] = rowsOf(snapshot);
  const text = csvOf([{ ...(row ?? expect.fail("no row")), name: '=1+1', detail: 'a "b", c' }]);
  expect(text).toContain(`all,'=1+1,"a ""b"", c",5`);
});
