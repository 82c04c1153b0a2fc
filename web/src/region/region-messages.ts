import type { RegionPolygons } from "../../../src/orchestrator/region-polygons.ts";
import type { JobSettings } from "../../../src/orchestrator/settings.ts";
import type { SourceChoices } from "../../../src/portable/open-source.ts";
import type { Raster, Rect } from "../../../src/tiling/grid/raster.ts";
import type { PlacedKey } from "../data/place.ts";

/** What the page calls the file of outlines that it saves. */
export const OUTLINES_FILE = "region.geojson";

/** `[x, y, width, height]` in level-0 pixels, as in the settings of a job. */
export type Roi = readonly [number, number, number, number];

/** A rectangle, or polygons and the rectangle around them. */
export interface ChosenRegion {
  roi: Roi;
  polygons?: RegionPolygons;
}

/** A region as settings of a job. */
export function regionSettings({ roi, polygons }: ChosenRegion): Pick<JobSettings, "roi" | "polygons"> {
  return polygons ? { polygons } : { roi };
}

/** What regions are planned with: scan, model and the settings of the run. */
export interface RegionSetup {
  image: PlacedKey;
  choices: SourceChoices;
  /** The model package: `key` is its directory. */
  model: PlacedKey;
  variant: string;
  /** Without a region. */
  settings: JobSettings;
  /** Whether shards are as large as edge functions take them. */
  isEdge: boolean;
}

/** The plan of the whole scan, which is measured once. */
export interface WholeScan {
  windows: number;
  shards: number;
  classes: readonly { name: string; color: string }[];
  warnings: readonly string[];
}

export interface RegionCount {
  windows: number;
  shards: number;
}

/** Labels of one window; see `WindowPreview`. */
export interface PreviewedWindow {
  labels: Raster<Uint8Array<ArrayBuffer>>;
  rect0: Rect;
  inner0: Rect | undefined;
  isKept: boolean;
  /** Time of the model, without loading it. */
  milliseconds: number;
  runtime: string;
}

export type RegionRequest = { id: number } & (
  | { kind: "open"; setup: RegionSetup }
  | { kind: "count"; region: ChosenRegion }
  | { kind: "preview"; at: readonly [y: number, x: number] }
);

export type RegionResponse = { id: number } & (
  | { ok: true; value: WholeScan | RegionCount | PreviewedWindow }
  | { ok: false; message: string }
);
