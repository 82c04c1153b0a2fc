import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pLimit from "p-limit";
import { type Runner, startRunner } from "../gpu-runner/start.ts";
import { segment } from "../src/index.ts";
import { loadModel } from "../src/local/resolve-model.ts";
import type { RunManifest } from "../src/orchestrator/manifest/run-manifest.ts";
import { writePointwisePackage } from "../test/builders/pointwise-package.ts";
import { writeMadeSlide } from "../test/builders/slide.ts";
import { median } from "./spawn-node.ts";

/**
 * Time of a slide on several runners, each a real HTTP service with a simulated device of fixed time per window: two compared
 * with one, and two of which one is slow, hangs or dies. Ideal time: all windows over the sum of the speeds.
 *   node bench/fleet.ts [--rounds 3] [--window-ms 20]
 */
const { values } = parseArgs({
  options: { rounds: { type: "string", default: "3" }, "window-ms": { type: "string", default: "20" } },
});
const windowMs = Number(values["window-ms"]);
const directory = mkdtempSync(join(tmpdir(), "tilewright-fleet-"));
const open: Runner[] = [];
try {
  const slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 1600, height: 1200 }).path;
  const model = writePointwisePackage(join(directory, "pointwise"), { window: 64 });
  const loaded = await loadModel(model);

  /** A runner whose device takes `ms(n)` for the nth window, one window at a time. */
  const device = async (ms: (nth: number) => number, dies?: number): Promise<string> => {
    let nth = 0;
    const runner = await startRunner({
      model: loaded,
      providers: ["cpu"],
      host: "127.0.0.1",
      port: 0,
      sessions: 1,
      drainSeconds: 0,
      logTo: { write() {} },
      open: async (name, which, options) => {
        const { openProvider } = await import("../src/inference/node/open-provider.ts");
        const inner = await openProvider(name, which, options);
        const mutex = pLimit(1);
        return {
          info: inner.info,
          close: () => inner.close(),
          segment(batch, how) {
            return mutex(async () => {
              const wait = ms(nth);
              nth++;
              if (nth === dies) void runner.stop();
              await new Promise((resolve) => setTimeout(resolve, wait));
              return inner.segment(batch, how);
            });
          },
        };
      },
    });
    open.push(runner);
    return `runner:${runner.url}`;
  };

  let runs = 0;
  const run = async (backends: string[]): Promise<RunManifest> => {
    const out = join(directory, `out-${runs++}`);
    const manifest = await segment({
      source: slide,
      model,
      out,
      backends,
      tissueMask: false,
      outputs: ["labels.ome.zarr"],
    });
    await Promise.all(open.splice(0).map((runner) => runner.stop()));
    return manifest;
  };
  const fixed = () => device(() => windowMs);
  const cases: [string, number, () => Promise<string[]>][] = [
    ["one", 1, async () => [await fixed()]],
    ["two", 2, async () => [await fixed(), await fixed()]],
    ["two, one a quarter as fast", 1.25, async () => [await fixed(), await device(() => 4 * windowMs)]],
    // It dies after half of the work, which counts.
    [
      "two, one hangs from its 100th window on",
      0,
      async () => [await fixed(), await device((n) => (n < 100 ? windowMs : 1e7))],
    ],
    ["two, one dies at its 100th window", 0, async () => [await fixed(), await device(() => windowMs, 100)]],
  ];
  const medians = new Map<string, number>();
  for (const [name, speed, make] of cases) {
    const seconds: number[] = [];
    let ideal = 0;
    for (let round = 0; round < Number(values.rounds); round++) {
      const manifest = await run(await make());
      seconds.push(manifest.seconds.segment!);
      const { windows } = manifest.plan;
      const done = manifest.backends.reduce((n, b) => n + b.windows, 0);
      if (done !== windows) throw new Error(`${done} of ${windows} windows were done`);
      ideal = ((speed > 0 ? windows / speed : windows - 100) * windowMs) / 1000;
    }
    const time = median(seconds);
    medians.set(name, time);
    console.log(`${name.padEnd(42)} ${time.toFixed(2)} s  ${(time / ideal).toFixed(3)} of ideal (goal 1.15)`);
  }
  console.log(`two over one: ${(medians.get("one")! / medians.get("two")!).toFixed(2)} × (goal 1.9)`);
} finally {
  await Promise.all(open.map((runner) => runner.stop()));
  rmSync(directory, { recursive: true, force: true });
}
process.exit(0);
