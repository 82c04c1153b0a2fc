import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { type ProgressEvent, segment } from "../../../src/index.ts";
import { writePointwisePackage } from "../../builders/pointwise-package.ts";
import { writeMadeSlide } from "../../builders/slide.ts";
import { treeHashes } from "../../builders/tree-hashes.ts";

const directory = mkdtempSync(join(tmpdir(), "tilewright-device-"));
afterAll(() => rmSync(directory, { recursive: true }));
const source = writeMadeSlide(join(directory, "slide.tiff")).path;
const model = writePointwisePackage(join(directory, "pointwise"));
const MAIN = join(import.meta.dirname, "../../../src/cli/main.ts");

const ort = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
const cuda = join(ort, "bin/napi-v6", process.platform, process.arch, "libonnxruntime_providers_cuda.so");

describe("a missing GPU", () => {
  it("ends with one sentence, an exit code and no directory", async () => {
    const out = join(directory, "webgpu");
    const args = [MAIN, "segment", source, "--model", model, "--out", out, "--backend", "webgpu"];
    const nowhere = "/nowhere/none.json";
    const failed = await promisify(execFile)(process.execPath, args, {
      env: { ...process.env, VK_DRIVER_FILES: nowhere, VK_ICD_FILENAMES: nowhere },
      timeout: 300_000,
    }).catch((error) => error);
    expect(failed.code).toBe(4);
    expect(failed.stderr).toMatch(/WebGPU finds no GPU: install|webgpu is not in this build/);
    expect(existsSync(out)).toBe(false);
  });

  it.skipIf(existsSync(cuda))("is left out and reported if others can do the work", async () => {
    const told: ProgressEvent[] = [];
    const run = (name: string, backends: string[]) =>
      segment({ source, model, out: join(directory, name), backends, onProgress: (e) => told.push(e) });
    await run("alone", ["cpu"]);
    const manifest = await run("both", ["cuda", "cpu"]);
    expect(manifest.backends.map((b) => b.name)).toEqual(["cpu"]);
    expect(treeHashes(join(directory, "both"))).toEqual(treeHashes(join(directory, "alone")));
    expect(told.filter((e) => e.type === "backend")).toEqual([
      {
        type: "backend",
        backend: "cuda",
        reason: expect.stringContaining("ONNXRUNTIME_NODE_INSTALL=cuda12"),
      },
    ]);
  });
});
