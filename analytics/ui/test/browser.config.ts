// `npm run test:browser`: the page in a real browser, on a real run.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["browser.test.ts"],
    // One run and one page are followed from start to end.
    sequence: { concurrent: false },
    bail: 1,
    // Longer than anything here takes, on however busy a machine.
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
});
