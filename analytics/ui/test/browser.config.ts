// `npm run test:browser`: the page in a real browser, on a real run.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["*.test.ts"],
    // The tests of a file follow one run and one page from start to end, in this order; each file has its own.
    maxWorkers: 2,
    minWorkers: 2,
    sequence: { concurrent: false },
    bail: 1,
    // Longer than any step takes, also on a busy machine.
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
});
