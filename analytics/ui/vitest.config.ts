// Unit tests stand beside what they test.
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [svelte()],
  test: { include: ["dev/**/*.test.ts", "src/**/*.test.ts"] },
});
