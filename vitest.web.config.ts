import { defineConfig } from "vitest/config";
import { FIXED_STARTS } from "./vitest.config.ts";

/** The web app in Chromium, on the real commands and service: `npm run test:web`. It is built first. */
export default defineConfig({
  test: {
    include: ["test/browser/**/*.test.ts"],
    globalSetup: ["test/browser/build-app.ts"],
    setupFiles: [FIXED_STARTS, "test/browser/stop-views.ts"],
    env: { ORT_DISABLE_TELEMETRY: "1" },
    // What is slow on a loaded machine passes.
    expect: { poll: { timeout: 30_000 } },
    testTimeout: 180_000,
    hookTimeout: 180_000,
    fileParallelism: false,
  },
});
