import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ImageSource } from "../../../src/image/image-source.ts";
import type { Segmenter } from "../../../src/inference/segmenter.ts";
import { loadSegmentModel, openSegmentBackends } from "../../../src/local/options.ts";
import type { ModelPackage } from "../../../src/model-package/load-package.ts";
import type { JobPlan } from "../../../src/orchestrator/job-plan.ts";
import { previewWindow } from "../../../src/orchestrator/map/preview-window.ts";
import { planJob } from "../../../src/orchestrator/plan/plan-job.ts";
import { planRegion } from "../../../src/orchestrator/plan/plan-region.ts";
import { boxAround } from "../../../src/orchestrator/region-polygons.ts";
import { checkSettings } from "../../../src/orchestrator/settings.ts";
import { openImage } from "../../../src/readers/open-image.ts";
import { FsStore } from "../../../src/storage/fs-store.ts";
import { drawnPolygon } from "../../builders/drawn-polygons.ts";
import { openSharedRuntime, readLabelZarr } from "../../builders/shared-runtime.ts";
import { writeMadeSlide } from "../../builders/slide.ts";

const TINY = join(import.meta.dirname, "../../fixtures/tiny-swin");
const [WIDTH, HEIGHT] = [500, 410];

let directory: string;
let path: string;
let store: FsStore;
let source: ImageSource;
let model: ModelPackage;
let segmenter: Segmenter;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-plan-region-"));
  const empty = (x: number) => x > 180 && x < 330;
  path = writeMadeSlide(join(directory, "slide.tiff"), { width: WIDTH, height: HEIGHT, empty }).path;
  store = new FsStore(directory);
  source = await openImage(store, "slide.tiff");
  const options = { model: TINY, threads: 1 };
  model = await loadSegmentModel(options);
  const [backend] = await openSegmentBackends(options, model);
  segmenter = backend!.segmenter;
});
afterAll(async () => {
  await segmenter?.close();
  await source?.close();
  await store?.close();
  rmSync(directory, { recursive: true, force: true });
});

const rect = fc
  .record({ x: fc.nat(WIDTH - 1), y: fc.nat(HEIGHT - 1), w: fc.nat(), h: fc.nat() })
  .map(({ x, y, w, h }) => [x, y, 1 + (w % (WIDTH - x)), 1 + (h % (HEIGHT - y))] as const);

/** What decides the labels of a plan. */
const deciding = ({ thumbnail: _, tissueFraction: __, domain: ___, ...plan }: JobPlan) => plan;

describe("the plan of a region", () => {
  it.each([
    ["with tissue only", { tissueMask: true }],
    ["with every window", { tissueMask: false }],
    ["at a coarser level", { tissueMask: false, level: 1, maxMagnification: 4 }],
    ["as nnU-Net lays windows", { tissueMask: true, policy: "nnunet" as const, overlapRatio: 0.5 }],
  ])("from that of the whole is the plan of a job with that region: %s", async (_, settings) => {
    const whole = await planJob(source, model.manifest, checkSettings(settings));
    await fc.assert(
      fc.asyncProperty(rect, async (roi) => {
        const asked = await planJob(source, model.manifest, checkSettings({ ...settings, roi })).catch(
          (error: Error) => error,
        );
        if (asked instanceof Error) {
          expect(() => planRegion(whole, source, { roi })).toThrow(asked.message);
          return;
        }
        expect(deciding(planRegion(whole, source, { roi }))).toEqual(deciding(asked));
        // The same rectangle as a polygon.
        const [x, y, w, h] = roi;
        const box = [
          [x, y],
          [x + w, y],
          [x + w, y + h],
          [x, y + h],
        ] as const;
        expect(deciding(planRegion(whole, source, { polygons: [[box]] }))).toEqual(deciding(asked));
      }),
      { seed: 20, numRuns: 15 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(drawnPolygon(WIDTH, HEIGHT), { minLength: 1, maxLength: 3 }),
        async (polygons) => {
          const asked = await planJob(source, model.manifest, checkSettings({ ...settings, polygons })).catch(
            (error: Error) => error,
          );
          if (asked instanceof Error) {
            expect(() => planRegion(whole, source, { polygons })).toThrow(asked.message);
            return;
          }
          expect(deciding(planRegion(whole, source, { polygons }))).toEqual(deciding(asked));
          const box = planRegion(whole, source, { roi: boxAround(polygons) });
          expect(asked.kept.size).toBeLessThanOrEqual(box.kept.size);
          expect({ ...deciding(asked), kept: 0 }).toEqual({ ...deciding(box), kept: 0 });
        },
      ),
      { seed: 20, numRuns: 15 },
    );
  });

  it("refuses what lies outside the image, and a region of a region", async () => {
    const whole = await planJob(source, model.manifest, checkSettings({ tissueMask: false }));
    expect(() => planRegion(whole, source, { roi: [0, 0, WIDTH + 1, 1] })).toThrow(
      "reaches outside the image",
    );
    expect(() => planRegion(whole, source, { roi: [0, 0, 0, 1] })).toThrow("above 0");
    const square = (from: number, to: number) => [
      [
        [from, from],
        [to, from],
        [to, to],
      ] as const,
    ];
    for (const polygons of [[square(-1, 20)], [square(0, 20), square(400, 501)]])
      expect(() => planRegion(whole, source, { polygons })).toThrow(
        "the polygons of the region reach outside the image, which is 500×410 pixels",
      );
    const part = planRegion(whole, source, { roi: [0, 0, 10, 10] });
    expect(() => planRegion(part, source, { roi: [0, 0, 5, 5] })).toThrow("cannot be divided again");
  });
});

describe("the preview of a window", () => {
  it.each([
    ["with MONAI's windows", { tissueMask: false }],
    ["at a coarser level", { tissueMask: false, level: 1, maxMagnification: 4 }],
    ["where the pixel size is another", { tissueMask: false, mpp: 0.4 }],
  ])(
    "has the labels of the run of the whole where no neighbour reaches: %s",
    async (_, {
      mpp,
      ...settings
    }: { tissueMask: boolean; level?: number; maxMagnification?: number; mpp?: number }) => {
      const runtime = await openSharedRuntime(
        { model: TINY, threads: 1, outputs: ["labels.ome.zarr"], ...settings, ...(mpp && { mpp }) },
        join(directory, `runs-${settings.level}-${mpp}`),
      );
      const image = mpp ? await openImage(store, "slide.tiff", { mpp }) : source;
      try {
        const whole = await planJob(image, model.manifest, checkSettings(settings));
        const { data, shape } = await readLabelZarr((await runtime.run(path)).out);
        const [downY, downX] = whole.downsample as [number, number];
        let compared = 0;
        const classes = new Set<number>();
        await fc.assert(
          fc.asyncProperty(fc.nat(WIDTH), fc.nat(HEIGHT), async (x, y) => {
            const preview = await previewWindow({
              ...{ source: image, manifest: model.manifest, plan: whole, segmenter, at: [y, x] },
            });
            expect(preview.isKept).toBe(true);
            const { labels, rect0, inner0 } = preview;
            if (inner0 === undefined) return;
            const at = (rect: { origin: readonly number[] }) =>
              [Math.round(rect.origin[0]! / downY), Math.round(rect.origin[1]! / downX)] as const;
            const [y0, x0] = at(rect0);
            const [top, left] = at(inner0);
            const [rows, columns] = [
              Math.round(inner0.size[0]! / downY),
              Math.round(inner0.size[1]! / downX),
            ];
            for (let row = top; row < top + rows; row++) {
              const from = (row - y0) * labels.shape[1]! + left - x0;
              const found = labels.data.subarray(from, from + columns);
              const start = row * shape[1]! + left;
              expect([...found]).toEqual([...data.subarray(start, start + columns)]);
              compared += columns;
              for (const label of new Set(found)) classes.add(label);
            }
          }),
          { seed: 20, numRuns: 12 },
        );
        expect(compared).toBeGreaterThan(1000);
        expect(classes.size).toBeGreaterThan(1);
      } finally {
        await runtime.close();
        if (mpp) await image.close();
      }
    },
  );

  it("says that a run leaves a window of background out", async () => {
    const whole = await planJob(source, model.manifest, checkSettings({ tissueMask: true }));
    const preview = await previewWindow({
      ...{ source, manifest: model.manifest, plan: whole, segmenter, at: [200, 255] },
    });
    expect(preview.isKept).toBe(false);
  });
});
