import { defineConfig } from "vitest/config";
import { FIXED_STARTS, SLOW } from "./vitest.config.ts";

/** The slow tests: `npm run test:stack`. One file at a time, for each is a machine's work by itself. */
export default defineConfig({
  test: {
    include: SLOW.map((path) => path.replace("/**", "/**/*.test.ts")),
    setupFiles: [FIXED_STARTS],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    fileParallelism: false,
  },
});
