import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import type { ModelPackage } from "../../src/model-package/load-package.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { runRunner, TOKEN } from "./run-runner.ts";
import { slowed } from "./slow-segmenter.ts";

let directory: string;
let source: string;
let path: string;
let model: ModelPackage;
let local: Record<string, string>;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tilewright-runner-"));
  source = writeMadeSlide(join(directory, "slide.tiff")).path;
  path = writePointwisePackage(join(directory, "pointwise"), { window: 64 });
  model = await loadModel(path);
  local = await segmented("local", ["cpu"]);
  process.env.TILEWRIGHT_RUNNER_TOKEN = TOKEN;
});
afterAll(async () => {
  delete process.env.TILEWRIGHT_RUNNER_TOKEN;
  await rm(directory, { recursive: true });
});

/** Hashes of everything a run leaves behind, its manifest aside. */
async function segmented(name: string, backends: string[]): Promise<Record<string, string>> {
  const out = join(directory, name);
  await segment({ source, model: path, out, backends, tissueMask: false });
  return treeHashes(out);
}

it("a runner, or two runners and this machine, give the same bytes as this machine alone", async () => {
  const runners = await Promise.all([1, 2].map(() => runRunner(model)));
  const names = runners.map(({ url }) => `runner:${url.href}`);
  expect(await segmented("alone", names.slice(0, 1))).toEqual(local);
  expect(await segmented("mixed", ["cpu", ...names])).toEqual(local);
  const { backends } = JSON.parse(await readFile(join(directory, "mixed", "run.json"), "utf8"));
  expect(backends.length).toBe(3);
  await Promise.all(runners.map(({ runner }) => runner.stop()));
});

it("the windows of a runner that stops midway go to other backends", async () => {
  const { device, open } = slowed({ runMs: 5 });
  const stopping = await runRunner(model, { providers: ["cuda"], open, maxBatch: 4 });
  const other = await runRunner(model);
  const before = device.runs.length;
  const run = segmented(
    "stopped",
    [stopping, other].map(({ url }) => `runner:${url.href}`),
  );
  for (let i = 0; i < 5000 && device.runs.length < before + 4; i++) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect(device.runs.length).toBeGreaterThanOrEqual(before + 4);
  await stopping.runner.stop();
  expect(await run).toEqual(local);
  await other.runner.stop();
});
