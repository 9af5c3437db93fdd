import { describe, expect, it } from "vitest";

import { EXAMPLES } from "./examples";
import { FIELDS, tomlOf, valueOf, WEIGHTS, withKey, type Field } from "./scenario-form";

const field = (key: string): Field => [...FIELDS, ...WEIGHTS].find((field) => field.key === key) ?? expect.fail(`no field ${key}`);
const set = (toml: string, key: string, value: string) => withKey(toml, field(key), value);

const TEXT = `# A peak.
directory = "https://ca.test/dir" # ours
workers = 10

thresholds = [
    "requests{failed} < 1%", # [not a table]
    "chain.certificate{p(95)} < 2s",
]

[weights]
revoke = 0

[scenarios.storm]
workers = 2000
`;

describe("a change of a field", () => {
  it.each([
    ["changes the line of its key", "workers", "50", TEXT.replace("workers = 10", "workers = 50")],
    ["does not touch the same key of another table", "workers", "", TEXT.replace("workers = 10\n", "")],
    ["is a text where it is none of a number", "rate", "20/s", TEXT.replace("]\n\n[weights]", ']\nrate = "20/s"\n\n[weights]')],
    ["changes the key of a table", "weights.revoke", "3", TEXT.replace("revoke = 0", "revoke = 3")],
    ["adds a key to a table", "weights.refresh", "4", TEXT.replace("[weights]\n", "[weights]\nrefresh = 4\n")],
  ])("%s", (_, key, value, changed) => {
    expect(set(TEXT, key, value)).toBe(changed);
  });

  it("replaces a list over several lines", () => {
    const changed = set(TEXT, "thresholds", "requests{failed} < 5%\n\n  requests{count} > 0 ");
    expect(changed).toContain('thresholds = ["requests{failed} < 5%", "requests{count} > 0"]\n\n[weights]');
    expect(changed).not.toContain("p(95)");
  });

  it("makes a table that is not there", () => {
    expect(set("workers = 1\n", "weights.revoke", "0")).toBe("workers = 1\n\n[weights]\nrevoke = 0\n");
  });

  it("begins an empty text", () => {
    expect(set("", "directory", "https://ca.test/dir")).toBe('directory = "https://ca.test/dir"\n');
  });

  it("to nothing of a key that is not there changes nothing", () => {
    expect(set(TEXT, "rate", " ")).toBe(TEXT);
  });

  it("cannot write more than its value", () => {
    expect(set("", "directory", 'a"\nworkers = 9')).toBe('directory = "a\\"\\nworkers = 9"\n');
  });

  it.each(EXAMPLES)("leaves the rest of the example $name", ({ toml }) => {
    const changed = set(toml, "run_time", "7m");
    expect(changed).toContain('run_time = "7m"');
    expect(changed.split("\n").filter((line) => line.startsWith("["))).toEqual(toml.split("\n").filter((line) => line.startsWith("[")));
  });
});

it("a value is read from the keys of the check", () => {
  const keys = { rate: "20/s", thresholds: "a{p(95)} < 2s,b{x,y} > 0" };
  expect(valueOf(keys, field("rate"))).toBe("20/s");
  expect(valueOf(keys, field("workers"))).toBe("");
  expect(valueOf(keys, field("thresholds"))).toBe("a{p(95)} < 2s\nb{x,y} > 0");
});

it("the keys of a session are a file to edit", () => {
  const keys = { directory: "https://ca.test/dir", workers: "20", think_time: "1s..3s", rate: "0.50", insecure: "true", "weights.refresh": "4", "scenarios.open one.weights.refresh": "2" };
  expect(tomlOf(keys)).toBe(
    'directory = "https://ca.test/dir"\nworkers = 20\nthink_time = "1s..3s"\nrate = "0.50"\ninsecure = true\n\n[weights]\nrefresh = 4\n\n[scenarios."open one".weights]\nrefresh = 2\n',
  );
});
