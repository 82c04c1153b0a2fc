import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bundles, bundleWorkers } from "../../src/cli/stack/local-stack.ts";
import { segment } from "../../src/index.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { KillableStack } from "./killable-stack.ts";

let directory: string;
let bundles: Bundles;
let model: string;
let slide: string;
let expected: Record<string, string>;
let stack: KillableStack | undefined;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-killed-stack-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 2300, height: 1700 }).path;
  model = writePointwisePackage(join(directory, "pointwise"));
  const out = join(directory, "alone");
  await segment({ source: slide, model, out, backends: ["wasm"] });
  expected = treeHashes(out);
  bundles = await bundleWorkers();
}, 300_000);
afterAll(async () => {
  await stack?.kill();
  await bundles?.remove();
  rmSync(directory, { recursive: true, force: true });
});

describe("a stack that is killed with its running jobs", () => {
  // Seconds after the upload; the state then differs between runs.
  it.each([[[0, 0.3, 1.1]], [[2.0, 0.7]], [[3.7]]])(
    "after %j s continues after a restart, to the same bytes",
    async (moments) => {
      const state = join(directory, `state-${moments.join("-")}`);
      stack = await KillableStack.start(state, model, bundles);
      const upload = await stack.service.upload(slide, "slide.tiff", { model: "pointwise" });
      for (const seconds of moments) {
        await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
        await stack.kill();
        // Already removed, in case the next one does not start.
        stack = undefined;
        stack = await KillableStack.start(state, model, bundles);
      }
      const id = await stack.service.jobOf(upload.id);
      const job = await stack.service.ended(id, 150);
      expect(job.error).toBeUndefined();
      expect(job.state).toBe("done");
      expect(job.windows!.done).toBe(job.windows!.total);
      expect(job.shards!.done).toBe(job.shards!.total);
      const out = join(state, "out");
      await stack.service.download(id, out);
      expect(treeHashes(out)).toEqual(expected);
      await stack.kill();
      stack = undefined;
    },
    240_000,
  );
});
