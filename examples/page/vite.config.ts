import { cpSync } from "node:fs";
import { defineConfig } from "vite";

/** What the Emscripten shells of the image codecs ask for where they find their code themselves; src/codecs.ts gives it. */
const NODE_ONLY = [/^fs$/, /^path$/];

export default defineConfig({
  root: import.meta.dirname,
  resolve: {
    alias: NODE_ONLY.map((find) => ({ find, replacement: `${import.meta.dirname}/src/no-module.ts` })),
  },
  worker: { format: "es" },
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
