import type { ImageSource } from "../../../src/image/image-source.ts";
import type { Segmenter } from "../../../src/inference/segmenter.ts";
import { openInWeb } from "../../../src/inference/wasm/open-in-web.ts";
import { loadManifest, loadPackage } from "../../../src/model-package/load-package.ts";
import type { ModelManifest } from "../../../src/model-package/manifest.ts";
import { NoTissueError } from "../../../src/orchestrator/errors.ts";
import type { JobPlan } from "../../../src/orchestrator/job-plan.ts";
import { planWarnings } from "../../../src/orchestrator/manifest/run-manifest.ts";
import { edgeShardBlock } from "../../../src/orchestrator/map/edge-shards.ts";
import { previewWindow } from "../../../src/orchestrator/map/preview-window.ts";
import { planJob } from "../../../src/orchestrator/plan/plan-job.ts";
import { planRegion } from "../../../src/orchestrator/plan/plan-region.ts";
import { checkSettings } from "../../../src/orchestrator/settings.ts";
import { openImage } from "../../../src/readers/open-image.ts";
import { planShards } from "../../../src/tiling/grid/shards.ts";
import { openPlace } from "../data/place.ts";
import { registerCodecModules } from "../workers/codec-modules.ts";
import {
  type ChosenRegion,
  type PreviewedWindow,
  type RegionCount,
  type RegionRequest,
  type RegionResponse,
  type RegionSetup,
  regionSettings,
  type WholeScan,
} from "./region-messages.ts";

const MIB = 2 ** 20;
const LIMITS = { regionBytes: 256 * MIB, cacheBytes: 32 * MIB, storedCacheBytes: 16 * MIB };

interface Opened {
  setup: RegionSetup;
  image: ImageSource;
  manifest: ModelManifest;
  /** Of the whole scan: its windows and intensities are those of every region. */
  plan: JobPlan;
}

let opened: Promise<Opened> | undefined;
let segmenter: Promise<Segmenter> | undefined;

registerCodecModules();

self.onmessage = async ({ data: request }: MessageEvent<RegionRequest>) => {
  const { id } = request;
  try {
    const value = await answer(request);
    respond({ id, ok: true, value }, "labels" in value ? [value.labels.data.buffer] : []);
  } catch (error) {
    respond({ id, ok: false, message: (error as Error).message });
  }
};

function respond(response: RegionResponse, transfer: Transferable[] = []): void {
  self.postMessage(response, { transfer });
}

async function answer(request: RegionRequest): Promise<WholeScan | RegionCount | PreviewedWindow> {
  if (request.kind === "open") {
    opened = open(request.setup);
    const { plan, image, manifest } = await opened;
    const classes = manifest.classes.map(({ name, color }) => ({ name, color }));
    return { ...count(plan), classes, warnings: planWarnings(plan, image) };
  }
  const scan = await opened!;
  return request.kind === "count" ? countRegion(scan, request.region) : preview(scan, request.at);
}

async function open(setup: RegionSetup): Promise<Opened> {
  const { image: placed, choices, model, isEdge } = setup;
  const [image, manifest] = await Promise.all([
    openImage(openPlace(placed.place), placed.key, { ...choices, limits: LIMITS }),
    loadManifest(openPlace(model.place), `${model.key}/`, model.key),
  ]);
  const settings = checkSettings(setup.settings);
  const plan = await planJob(image, manifest, settings, {
    ...(isEdge && {
      shardBlock: (about) => edgeShardBlock(about, manifest.classes.length, settings.precision),
    }),
  });
  return { setup, image, manifest, plan };
}

function count({ grid, kept, shardBlock }: JobPlan): RegionCount {
  let shards = 0;
  for (const _ of planShards(grid, kept, shardBlock)) shards++;
  return { windows: kept.size, shards };
}

function countRegion({ plan, image }: Opened, region: ChosenRegion): RegionCount {
  try {
    return count(planRegion(plan, image, regionSettings(region)));
  } catch (error) {
    if (error instanceof NoTissueError) return { windows: 0, shards: 0 };
    throw error;
  }
}

async function preview({ setup, image, manifest, plan }: Opened, at: readonly [number, number]) {
  segmenter ??= openModel(setup);
  segmenter.catch(() => {
    segmenter = undefined;
  });
  const model = await segmenter;
  const before = model.runMilliseconds ?? 0;
  const found = await previewWindow({ source: image, manifest, plan, segmenter: model, at });
  const milliseconds = (model.runMilliseconds ?? 0) - before;
  return { ...found, milliseconds, runtime: model.info.runtime } as PreviewedWindow;
}

async function openModel({ model, variant }: RegionSetup): Promise<Segmenter> {
  return openInWeb(await loadPackage(openPlace(model.place), `${model.key}/`, model.key, { variant }));
}
