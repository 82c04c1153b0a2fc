import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { readLabels } from "../builders/read-labels.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { softwareAdapter } from "./software-adapter.ts";

const directory = mkdtempSync(join(tmpdir(), "tilewright-webgpu-"));
afterAll(() => rmSync(directory, { recursive: true }));

describe.runIf(softwareAdapter() !== undefined)("an image on the GPU of this machine", () => {
  it("gets the labels of the CPU, and says what ran", async () => {
    const source = writeMadeSlide(join(directory, "slide.tiff"), { width: 300, height: 200 }).path;
    const model = writePointwisePackage(join(directory, "pointwise"), { window: 64 });
    const run = async (backend: string) => {
      const out = join(directory, backend);
      const { backends } = await segment({
        source,
        model,
        out,
        backends: [backend],
        tissueMask: false,
        outputs: ["labels.ome.zarr"],
      });
      return { backend: backends[0]!, labels: (await readLabels(join(out, "labels.ome.zarr"))).data };
    };
    const cpu = await run("cpu");
    const gpu = await run("webgpu");
    expect(gpu.backend).toMatchObject({ name: "webgpu", runtime: expect.stringMatching(/ webgpu$/) });
    expect(gpu.backend.windows).toBe(cpu.backend.windows);
    let differing = 0;
    for (let i = 0; i < cpu.labels.length; i++) if (cpu.labels[i] !== gpu.labels[i]) differing++;
    expect(differing / cpu.labels.length).toBeLessThan(1e-3);
  });
});
