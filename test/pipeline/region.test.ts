import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { boxAround } from "../../src/orchestrator/region-polygons.ts";
import { drawnPolygon, isInside } from "../builders/drawn-polygons.ts";
import { openSharedRuntime, readLabelZarr } from "../builders/shared-runtime.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";

const TINY = join(import.meta.dirname, "../fixtures/tiny-swin");
const [WIDTH, HEIGHT] = [500, 410];

let directory: string;
let slide: string;
let runtime: Awaited<ReturnType<typeof openSharedRuntime>>;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-region-"));
  // A band without anything, so that parts of the slide have intensities of their own.
  slide = writeMadeSlide(join(directory, "slide.tiff"), {
    width: WIDTH,
    height: HEIGHT,
    empty: (x) => x > 180 && x < 330,
  }).path;
  const model = join(directory, "tiny");
  cpSync(TINY, model, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(model, "model.json"), "utf8"));
  manifest.input.normalization = {
    kind: "percentile",
    low: 1,
    high: 99.8,
    scope: "image",
    clip: [0, 1],
    scale: 2,
    offset: -1,
  };
  writeFileSync(join(model, "model.json"), JSON.stringify(manifest));
  runtime = await openSharedRuntime(
    { model, threads: 2, outputs: ["labels.ome.zarr", "objects.geojson"] },
    directory,
  );
});
afterAll(async () => {
  await runtime?.close();
  rmSync(directory, { recursive: true, force: true });
});

const rect = fc
  .record({ x: fc.nat(WIDTH - 1), y: fc.nat(HEIGHT - 1), w: fc.nat(), h: fc.nat() })
  .map(({ x, y, w, h }) => [x, y, 1 + (w % (WIDTH - x)), 1 + (h % (HEIGHT - y))] as const);

describe("a region of a slide", () => {
  it.each([
    ["with tissue only", { tissueMask: true }],
    ["with every window", { tissueMask: false }],
    ["at a coarser level", { tissueMask: false, level: 1, maxMagnification: 4 }],
    [
      "with windows as nnU-Net lays them",
      { tissueMask: false, policy: "nnunet" as const, overlapRatio: 0.5 },
    ],
  ])(
    "gives the labels that the run of the whole gives there: %s",
    async (_, settings) => {
      const whole = await runtime.run(slide, settings);
      const labels = await readLabelZarr(whole.out);
      expect(new Set(labels.data).size).toBeGreaterThan(1);
      const width = labels.shape[1]!;
      await fc.assert(
        fc.asyncProperty(rect, async (roi) => {
          const part = await runtime.run(slide, { ...settings, roi }).catch((error: Error) => error);
          if (part instanceof Error) {
            // Only where there is nothing.
            expect(part.message).toMatch(/no tissue was found in the region/);
            return;
          }
          expect(part.manifest.plan.intensities).toEqual(whole.manifest.plan.intensities);
          const { region } = part.manifest.plan;
          const [y0, x0] = region.origin as [number, number];
          const found = await readLabelZarr(part.out);
          expect(found.shape).toEqual(region.size);
          const [height, across] = found.shape as [number, number];
          for (let y = 0; y < height; y++) {
            const from = (y0 + y) * width + x0;
            const expected = labels.data.subarray(from, from + across);
            const row = found.data.subarray(y * across, (y + 1) * across);
            expect(Buffer.compare(Buffer.from(row), Buffer.from(expected)), `${roi} row ${y}`).toBe(0);
          }
          const { coveredSamples, outsideMaskSamples } = part.manifest.coverage;
          expect(coveredSamples + outsideMaskSamples).toBe(height * across);
        }),
        { seed: 7, numRuns: 10 },
      );
    },
    120_000,
  );

  it("of polygons has the labels of the run of the whole inside them, and only windows that touch them", async () => {
    const whole = await runtime.run(slide, { tissueMask: false });
    const labels = await readLabelZarr(whole.out);
    let [inside, kept, inBoxes] = [0, 0, 0];
    const corner = [
      [5, 5],
      [495, 5],
      [5, 405],
    ] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.array(drawnPolygon(WIDTH, HEIGHT), { minLength: 1, maxLength: 2 }),
        async (polygons) => {
          const part = await runtime.run(slide, { tissueMask: false, polygons });
          expect(part.manifest.settings.polygons).toEqual(polygons);
          expect(part.manifest.plan.intensities).toEqual(whole.manifest.plan.intensities);
          const box = await runtime.run(slide, { tissueMask: false, roi: boxAround(polygons) });
          expect(part.manifest.plan.region).toEqual(box.manifest.plan.region);
          kept += part.manifest.plan.windows;
          inBoxes += box.manifest.plan.windows;
          const [y0, x0] = part.manifest.plan.region.origin as [number, number];
          const found = await readLabelZarr(part.out);
          const [height, width] = found.shape as [number, number];
          for (let y = 0; y < height; y++) {
            for (let x = 0; x < width; x++) {
              if (!polygons.some((polygon) => isInside(polygon, x0 + x + 0.5, y0 + y + 0.5))) continue;
              inside++;
              if (found.data[y * width + x] !== labels.data[(y0 + y) * WIDTH + x0 + x])
                expect.fail(`the label at ${x0 + x}, ${y0 + y} is another one`);
            }
          }
        },
      ),
      { seed: 7, numRuns: 8, examples: [[[[corner]]]] },
    );
    expect(inside).toBeGreaterThan(10_000);
    expect(kept).toBeLessThan(inBoxes);
  }, 120_000);

  it("is continued after it was stopped, to the same bytes", async () => {
    const options = {
      source: slide,
      model: join(directory, "tiny"),
      roi: [30, 40, 420, 330] as const,
      threads: 1,
      tissueMask: false,
      outputs: ["labels.ome.zarr", "objects.geojson"],
    };
    const alone = join(directory, "alone");
    await segment({ ...options, out: alone });
    const out = join(directory, "stopped");
    const stop = new AbortController();
    const stopped = segment({
      ...options,
      out,
      signal: stop.signal,
      onProgress: (event) => {
        if (event.type === "progress" && event.windowsDone > event.windowsTotal / 2)
          stop.abort(new Error("enough"));
      },
    });
    await expect(stopped).rejects.toThrow("enough");
    const resumed = await segment({ ...options, out, resume: true });
    expect(resumed.attempts).toBe(2);
    expect(treeHashes(out)).toEqual(treeHashes(alone));
  });

  it("writes one picture of a small region, not the same twice", async () => {
    const outputs = ["overlay.png", "overlay-detail.png"];
    const part = await runtime.run(slide, { roi: [10, 10, 300, 200], tissueMask: false, outputs });
    expect(part.manifest.outputs.map(({ name }) => name)).toEqual(["overlay.png"]);
  });

  it("of the whole slide equals the run without a region", async () => {
    const whole = await runtime.run(slide);
    const part = await runtime.run(slide, { roi: [0, 0, WIDTH, HEIGHT] });
    expect(await readLabelZarr(part.out)).toEqual(await readLabelZarr(whole.out));
    expect(part.manifest.coverage).toEqual(whole.manifest.coverage);
    expect(part.manifest.seam).toEqual(whole.manifest.seam);
  });
});
