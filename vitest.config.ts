import { configDefaults, defineConfig } from "vitest/config";

/** What runs the whole service, kills processes again and again, packs the package, or asks wrangler for much: minutes each. */
export const SLOW = [
  "test/stack/**",
  "test/infra/**",
  "test/client/upload-command.test.ts",
  "test/cohort/killed.test.ts",
  "test/docs/snippets.test.ts",
  "test/cohort/real-data.test.ts",
  "test/edge/segment.test.ts",
  "test/orchestrator/scheduler/mixed.test.ts",
  "test/readers/peak-memory.test.ts",
  "test/package.test.ts",
  "test/pipeline/killed.test.ts",
  "test/pipeline/orientation.test.ts",
  "test/pipeline/refusals.test.ts",
  "test/pipeline/stopped.test.ts",
  "test/gpu-runner/process.test.ts",
];

/** Property tests begin at the same random numbers every time: `npm run test:random` takes others. */
export const FIXED_STARTS = new URL("test/fixed-starts.ts", import.meta.url).pathname;

export default defineConfig({
  // The simulation runs the job service's classes outside of workerd.
  resolve: {
    alias: { "cloudflare:workers": new URL("bench/scale/cloudflare-workers.ts", import.meta.url).pathname },
  },
  test: {
    include: ["test/**/*.test.ts", "src/**/*.test.ts"],
    // These need a server (npm run test:s3), a GPU (npm run test:webgpu) or a browser (npm run test:web), or take minutes
    // (npm run test:stack).
    exclude: [...configDefaults.exclude, "test/s3/**", "test/webgpu/**", "test/browser/**", ...SLOW],
    // For tests that load onnxruntime-node themselves.
    env: { ORT_DISABLE_TELEMETRY: "1" },
    setupFiles: [FIXED_STARTS],
    // What hangs ends; what is slow on a loaded machine passes.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    maxWorkers: 2,
    // npm run coverage: of the fast tests, in this process; workers, workerd and child processes are not seen.
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts", "gpu-runner/**/*.ts"],
      reporter: ["text-summary", "html", "lcov"],
      reportsDirectory: "dist/coverage",
    },
  },
});
