// `npm run dev`: the page with live reload. WEC_API=http://127.0.0.1:PORT shows a running analytics; without it the
// page shows an invented run with failures, withheld figures, late results and a change of load.
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

import { inventedRun } from "./invented-run";

const api = process.env["WEC_API"];

export default defineConfig({
  root: `${import.meta.dirname}/..`,
  plugins: [svelte(), api === undefined ? inventedRun() : []],
  server: {
    host: "127.0.0.1",
    ...(api === undefined ? {} : { proxy: { "/api": { target: api, changeOrigin: true, headers: { origin: new URL(api).origin } } } }),
  },
});
