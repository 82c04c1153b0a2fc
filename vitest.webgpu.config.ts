import { defineConfig } from "vitest/config";
import { softwareAdapter } from "./test/webgpu/software-adapter.ts";

/**
 * The WebGPU provider on an adapter that computes on the CPU: `npm run test:webgpu`. The driver is found by an environment
 * variable of the process that loads it, so each file runs in a process that is started with it.
 */
const driver = softwareAdapter();
export default defineConfig({
  test: {
    include: ["test/webgpu/**/*.test.ts"],
    env: driver ? { VK_DRIVER_FILES: driver } : {},
    pool: "forks",
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
if (driver) process.env.VK_DRIVER_FILES = driver;
