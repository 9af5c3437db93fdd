// How the page is built: by hand with `npm run build`, and by analytics/build.rs, which gives --outDir.
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [svelte()],
  // Relative, so that the page also works behind a path of somebody's reverse proxy.
  base: "./",
  build: {
    target: "es2022",
    // The page's Content-Security-Policy allows its own origin only: nothing inline, no data: URIs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
