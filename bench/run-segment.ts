import { segment } from "../src/index.ts";

/**
 * Runs one job in its own process, to measure its peak memory.
 *   node bench/run-segment.ts <slide> <model> <out> <outputs> [mpp] [threads]
 * prints {"windows", "seconds" per stage, "peakBytes"}
 */
const [source, model, out, outputs, mpp, threads] = process.argv.slice(2) as string[];
const manifest = await segment({
  source: source!,
  model: model!,
  out: out!,
  outputs: outputs!.split(","),
  mpp: mpp ? Number(mpp) : undefined,
  threads: threads ? Number(threads) : undefined,
  // Every window, as in MONAI.
  tissueMask: false,
  force: true,
});
console.log(
  JSON.stringify({
    windows: manifest.plan.windows,
    seconds: manifest.seconds,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    summary: manifest.summary,
    seam: manifest.seam,
  }),
);
