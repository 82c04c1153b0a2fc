import { defineConfig } from "vite";

/**
 * The web app: static files that `tilewright view` and the job service serve. Every asset is a file of its own, because
 * the pages' Content-Security-Policy allows no inline script, style or data address.
 */
export default defineConfig({
  root: import.meta.dirname,
  build: {
    outDir: "../dist/web",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    sourcemap: false,
    // A note, not an error: codecs are large and load when needed.
    chunkSizeWarningLimit: 1500,
  },
  worker: { format: "es" },
  resolve: {
    // The Emscripten shells of the codecs ask for these where they find their code themselves; here they are given it.
    alias: [/^fs$/, /^path$/].map((find) => ({
      find,
      replacement: `${import.meta.dirname}/src/workers/no-module.ts`,
    })),
  },
});
