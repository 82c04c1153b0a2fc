import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { checkGoldenTile } from "../../src/inference/golden-tile.ts";
import { DeviceSegmenter } from "../../src/inference/node/device-segmenter.ts";
import { openProvider, type ProviderName } from "../../src/inference/node/open-provider.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";

const run = promisify(execFile);
const directory = mkdtempSync(join(tmpdir(), "tilewright-provider-"));
afterAll(() => rmSync(directory, { recursive: true }));
const pointwise = writePointwisePackage(directory, { window: 64 });
const TINY = join(import.meta.dirname, "../fixtures/tiny-swin");

async function tryProvider(provider: ProviderName, env: Record<string, string>) {
  const script = join(import.meta.dirname, "../builders/probe-provider.ts");
  const { stdout } = await run(process.execPath, [script, pointwise, provider], {
    env: { ...process.env, ...env },
    timeout: 300_000,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1)!);
}

describe("openProvider", () => {
  it("throws without the device and never uses another provider", async () => {
    const { error, runtime } = await tryProvider("webgpu", {
      VK_DRIVER_FILES: "/nowhere/none.json",
      VK_ICD_FILENAMES: "/nowhere/none.json",
    });
    expect(runtime).toBeUndefined();
    expect(error).toMatch(/WebGPU finds no GPU: install|webgpu is not in this build/);
  });

  const ort = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
  const cuda = join(ort, "bin/napi-v6", process.platform, process.arch, "libonnxruntime_providers_cuda.so");
  it.skipIf(existsSync(cuda))("throws if the installation lacks the provider", async () => {
    const { error, runtime } = await tryProvider("cuda", {});
    expect(runtime).toBeUndefined();
    expect(error).toContain("ONNXRUNTIME_NODE_INSTALL=cuda12");
  });

  it("opens the CPU", async () => {
    expect((await tryProvider("cpu", {})).runtime).toMatch(/^onnxruntime-node [\d.]+ cpu$/);
  });

  it("rejects settings that it would ignore", async () => {
    const model = await loadModel(pointwise);
    await expect(openProvider("cpu", model, { half: "on" })).rejects.toThrow("does not compute in float16");
    await expect(openProvider("cpu", model, { deviceId: 1 })).rejects.toThrow("takes no device number");
    await expect(openProvider("tpu", model)).rejects.toThrow("choose of cuda, webgpu, cpu");
  });
});

describe("the companion in half precision", () => {
  it.each([TINY, "nuclei", "hippocampus"])("of %s passes the golden tile", async (name) => {
    const model = await loadModel(name, { half: true });
    expect(model.half).toBeDefined();
    const segmenter = await DeviceSegmenter.create(model, { provider: "cpu", half: true });
    try {
      expect(segmenter.info.runtime).toMatch(/ cpu fp16$/);
      for (const precision of ["u8", "f32"] as const) await checkGoldenTile(segmenter, model, { precision });
    } finally {
      await segmenter.close();
    }
  });

  it("throws if the package has none or it was not loaded", async () => {
    for (const model of [await loadModel(pointwise, { half: true }), await loadModel("nuclei")]) {
      await expect(DeviceSegmenter.create(model, { provider: "cpu", half: true })).rejects.toThrow(
        "no file in half precision",
      );
    }
  });
});
