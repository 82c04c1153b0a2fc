import { cpSync } from "node:fs";
import { defineConfig } from "vite";

/** Of the Emscripten shells of the image codecs, these are for Node only. */
const NODE_ONLY = ["fs", "path"];

export default defineConfig({
  root: import.meta.dirname,
  worker: { format: "es", rollupOptions: { external: NODE_ONLY } },
  build: { target: "es2023", assetsInlineLimit: 0 },
  plugins: [
    {
      name: "copy-model",
      apply: "build",
      /** The model package, served as files. */
      closeBundle() {
        const models = new URL("../node_modules/tilewright/models/", import.meta.url);
        cpSync(new URL("nuclei", models), new URL("dist/models/nuclei", import.meta.url), {
          recursive: true,
        });
      },
    },
  ],
});
