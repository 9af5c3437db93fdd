// How the page is built: by hand with `npm run build`, and by analytics/build.rs, which gives --outDir.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

export default defineConfig({
  plugins: [svelte(), compressed()],
  // Relative, so that the page also works behind a path of somebody's reverse proxy.
  base: "./",
  build: {
    target: "es2022",
    // The page's Content-Security-Policy allows its own origin only: nothing inline, no data: URIs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});

/** Writes each text file also as `.br` and `.gz`, which analytics serves to browsers that accept them. */
function compressed(): Plugin {
  let folder = "";
  return {
    name: "compressed",
    apply: "build",
    configResolved: (config) => {
      folder = join(config.root, config.build.outDir);
      if (config.build.outDir.startsWith("/")) folder = config.build.outDir;
    },
    closeBundle: async () => {
      const files = await readdir(folder, { recursive: true });
      for (const file of files.filter((file) => /\.(html|js|css|svg)$/.test(file))) {
        const text = await readFile(join(folder, file));
        const brotli = brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
        await writeFile(join(folder, `${file}.br`), brotli);
        await writeFile(join(folder, `${file}.gz`), gzipSync(text, { level: 9 }));
      }
    },
  };
}
