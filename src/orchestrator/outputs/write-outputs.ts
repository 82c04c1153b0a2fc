import type { LabelMapInfo, LabelSink, WrittenOutput } from "../../image/label-sink.ts";
import {
  type LabelOutputName,
  type OutputName,
  PLANE_OUTPUTS,
  VOLUME_OUTPUTS,
} from "../../image/output-targets.ts";
import { ObjectCollector, type ObjectRuns } from "../../tiling/objects/collect-objects.ts";
import { ObjectScanner } from "../../tiling/objects/connected-components.ts";
import { measureObject } from "../../tiling/objects/measure-objects.ts";
import { ObjectPainter } from "../../tiling/objects/paint-objects.ts";
import { tracePolygons } from "../../tiling/objects/trace-polygons.ts";
import { type Caption, withCaption } from "./caption.ts";
import { DensityGrid } from "./density.ts";
import { drawDetail } from "./detail.ts";
import { GEOJSON_HEAD, GEOJSON_TAIL, GeoJsonFeatures } from "./geojson.ts";
import { packedBitDepth, readTileRows, StripBuffer, type TileVisitor } from "./label-strips.ts";
import { type MeasuredObject, objectId } from "./measured-object.ts";
import { CSV_HEAD, objectRow, slideRows } from "./measurements-csv.ts";
import { type ObjectKinds, objectKinds } from "./object-kinds.ts";
import { ObjectTable } from "./object-table.ts";
import { OutputSinks } from "./output-sinks.ts";
import type { OutputsReport, Pictures, WriteOutputsOptions } from "./outputs-options.ts";
import { Overlay, vividColor } from "./overlay.ts";
import { type Placement, toPlacement } from "./placement.ts";
import { PresentClasses } from "./present-classes.ts";
import { PyramidWriter } from "./pyramid-writer.ts";
import { SlideCounter, type SlideSummary } from "./slide-summary.ts";
import { writeVolume } from "./write-volume.ts";

/** Side of the detail picture, in label samples. */
const DETAIL_SIDE = 1024;

/**
 * Writes the requested outputs of a label map. One pass over its rows makes label pyramids, objects, tables and overlay;
 * a second one makes instance maps. Memory holds two rows of chunks (packed on wide maps) and the open objects. Outputs
 * get their final names after everything is written; an error before that removes all of them.
 */
export async function writeOutputs(options: WriteOutputsOptions): Promise<OutputsReport> {
  const { labelStore, outputs, targets } = options;
  checkOptions(options);
  const sinks = new OutputSinks(targets, outputs, options.origin);
  try {
    const { summary, pictures } =
      labelStore.info.axes === "yx" ? await writePlane(options, sinks) : await writeVolume(options, sinks);
    const written = new Map<OutputName, WrittenOutput>();
    for (const [name, picture] of pictures) written.set(name, await targets.picture(name, picture));
    for (const [name, output] of await sinks.finalize()) written.set(name, output);
    return { outputs: outputs.flatMap((name) => written.get(name) ?? []), summary };
  } catch (error) {
    await sinks.abort();
    throw error;
  }
}

async function writePlane(
  options: WriteOutputsOptions,
  sinks: OutputSinks,
): Promise<{ summary: SlideSummary; pictures: Pictures }> {
  const kinds = objectKinds(options.labelStore.info, options.objects);
  const first = await firstPass(options, kinds, sinks);
  if (wantsInstances(options.outputs)) await secondPass(options, kinds, first.numbers, sinks);
  if (options.outputs.includes("labels.seg.dcm")) await writeSegmentation(options, first.present, sinks);
  return { summary: first.summary, pictures: await first.pictures() };
}

function wantsInstances(outputs: readonly OutputName[]): boolean {
  return outputs.includes("instances.ome.zarr") || outputs.includes("instances.ome.tiff");
}

function checkOptions({
  labelStore,
  outputs,
  thumbnail,
  readDetail,
  readSlice,
  idSeed,
}: WriteOutputsOptions): void {
  const { axes } = labelStore.info;
  const possible = axes === "yx" ? PLANE_OUTPUTS : VOLUME_OUTPUTS;
  const other = outputs.find((name) => !possible.includes(name));
  if (other !== undefined) {
    throw new RangeError(
      `${other} is for ${axes === "yx" ? "volumes" : "2-D images"}; choose of ${possible.join(", ")}`,
    );
  }
  if (axes === "zyx" && outputs.includes("overlay.png") && readSlice === undefined)
    throw new TypeError("overlay.png of a volume needs readSlice");
  if (axes === "yx" && outputs.includes("overlay.png") && thumbnail === undefined)
    throw new TypeError("overlay.png needs a thumbnail");
  if (outputs.includes("overlay-detail.png") && readDetail === undefined) {
    throw new TypeError("overlay-detail.png needs readDetail");
  }
  if (!/^[0-9a-f]{18,}$/i.test(idSeed)) throw new TypeError("idSeed must be 18 or more hex digits");
}

async function openLabels(
  names: readonly LabelOutputName[],
  info: LabelMapInfo,
  sinks: OutputSinks,
): Promise<LabelSink[]> {
  const opened: LabelSink[] = [];
  for (const name of names) {
    const sink = await sinks.labels(name, info);
    if (sink) opened.push(sink);
  }
  return opened;
}

interface FirstPass {
  summary: SlideSummary;
  /** Object numbers, for the second pass. */
  numbers: Uint32Array;
  /** See `Segmentation`. */
  present: readonly (readonly number[])[];
  pictures(): Promise<Pictures>;
}

async function firstPass(
  options: WriteOutputsOptions,
  kinds: ObjectKinds,
  sinks: OutputSinks,
): Promise<FirstPass> {
  const { labelStore, outputs, signal, source } = options;
  const { info } = labelStore;
  const [height, width] = info.shape as [number, number];
  const placement = toPlacement(info);
  const counter = new SlideCounter(info, kinds, placement);
  const density = new DensityGrid([height, width]);
  const labels = await openLabels(["labels.ome.zarr", "labels.ome.tiff"], info, sinks);
  const geojson = await sinks.text("objects.geojson");
  const csv = await sinks.text("measurements.csv");
  const tolerance = options.simplifyTolerance ?? 0;
  const table = await sinks.file(
    "objects.parquet",
    (sink) => new ObjectTable(sink, placement, kinds, tolerance),
  );
  const overlay = outputs.includes("overlay.png")
    ? new Overlay(options.thumbnail!, { width, height }, options.overlayStyle)
    : undefined;
  geojson?.add(GEOJSON_HEAD);
  csv?.add(CSV_HEAD);

  const json = new GeoJsonFeatures(placement, kinds.objectType, tolerance);
  let features = 0;
  const tell = (runs: ObjectRuns) => {
    const object = describe(runs, kinds, placement, options.idSeed);
    const { centroid } = object.measurements;
    geojson?.add(`${features++ > 0 ? "," : ""}\n${json.feature(object)}`);
    csv?.add(objectRow(object, placement, source));
    table?.add(object);
    overlay?.draw(runs, object.polygons, object.kind);
    counter.countObject(object);
    options.onObject?.(object, placement);
    density.add(centroid.x, centroid.y);
  };
  const keepNumbers = wantsInstances(outputs);
  const collector = new ObjectCollector({ rule: kinds.rule, onObject: tell, keepNumbers });
  const scanner = new ObjectScanner(width, kinds.rule, collector);
  const bits = packedBitDepth(info, options.wideRowBytes);
  const pyramid = new PyramidWriter(labels, info, bits);
  const strips = new StripBuffer(info);
  const total = keepNumbers ? 2 * height : height;
  const present = outputs.includes("labels.seg.dcm") ? new PresentClasses(info) : undefined;
  const visitor: TileVisitor = {
    tile(index, tile) {
      pyramid.add(index, tile);
      if (tile === undefined) return;
      present?.add(index, tile);
      counter.countPixels(tile.data as Uint8Array);
    },
    settle: () => pyramid.settle(),
  };
  for await (const row of readTileRows(labelStore, visitor, { bits, signal })) {
    for (const rows of strips.strips(row)) {
      scanner.push(rows);
      if (geojson?.isFull) await geojson.flush();
      if (csv?.isFull) await csv.flush();
      if (table?.isFull) await table.flush();
    }
    options.onProgress?.(Math.min(height, (row.row + 1) * info.chunk[0]!), total);
  }
  scanner.finish();
  const summary = counter.summary(options.analysedPixels);
  geojson?.add(GEOJSON_TAIL);
  csv?.add(slideRows(summary, source));
  // Before files get their names: a full disk must show before the first of them has one.
  await Promise.all([geojson?.flush(), csv?.flush(), table?.end()]);
  return {
    summary,
    numbers: keepNumbers ? collector.numbers : new Uint32Array(),
    present: present?.tiles ?? [],
    async pictures() {
      const pictures: Pictures = [];
      const caption = (labelsPerPixel: number): Caption => ({
        legend: [...kinds.kinds.values()].map(({ name, color }) => ({ name, color: vividColor(color) })),
        micrometresPerPixel: placement.sourceSpacing && placement.sample.x * labelsPerPixel,
        warnings: options.warnings ?? [],
      });
      const shown = options.thumbnail?.shape[1] ?? 0;
      if (overlay !== undefined)
        pictures.push(["overlay.png", withCaption(overlay.finish(), caption(width / shown))]);
      const rect = density.densest(DETAIL_SIDE);
      // The overlay of a small region already shows every sample.
      const isSame =
        overlay !== undefined && rect.width === width && rect.height === height && shown === width;
      if (outputs.includes("overlay-detail.png") && !isSame) {
        const picture = await options.readDetail!(rect);
        const style = options.overlayStyle ?? "outline";
        const drawn = await drawDetail(labelStore, rect, picture, kinds, style, signal);
        pictures.push(["overlay-detail.png", withCaption(drawn, caption(1))]);
      }
      return pictures;
    },
  };
}

function describe(
  runs: ObjectRuns,
  kinds: ObjectKinds,
  placement: Placement,
  idSeed: string,
): MeasuredObject {
  const polygons = tracePolygons(runs.runs);
  return {
    id: objectId(idSeed, runs.number),
    runs,
    kind: kinds.kinds.get(runs.kind)!,
    polygons,
    measurements: measureObject(runs, polygons, placement.sample),
  };
}

/** Writes the instance maps. Object numbers are known only after the first pass. */
async function secondPass(
  options: WriteOutputsOptions,
  { rule }: ObjectKinds,
  numbers: Uint32Array,
  sinks: OutputSinks,
): Promise<void> {
  const { labelStore, signal } = options;
  const [height, width] = labelStore.info.shape as [number, number];
  const [tileHeight, tileWidth] = labelStore.info.chunk as [number, number];
  const info: LabelMapInfo = {
    ...labelStore.info,
    dtype: "uint32",
    classes: [],
    name: `${labelStore.info.name} objects`,
  };
  const maps = await openLabels(["instances.ome.zarr", "instances.ome.tiff"], info, sinks);
  const columns = Math.ceil(width / tileWidth);
  const painter = new ObjectPainter(numbers, [tileHeight, tileWidth]);
  const scanner = new ObjectScanner(width, rule, painter);
  const pyramid = new PyramidWriter(maps, info);
  const strips = new StripBuffer(labelStore.info);
  let taken = 0;
  const takeRows = async () => {
    for (; taken * tileHeight < height; taken++) {
      if (painter.rowsComplete < Math.min(height, (taken + 1) * tileHeight)) break;
      const row = painter.takeRow(taken);
      for (let column = 0; column < columns; column++) {
        const data = row.get(column);
        pyramid.add([taken, column], data && { data });
      }
      await pyramid.settle();
      options.onProgress?.(height + Math.min(height, (taken + 1) * tileHeight), 2 * height);
    }
  };
  const bits = packedBitDepth(labelStore.info, options.wideRowBytes);
  for await (const row of readTileRows(labelStore, { tile() {} }, { bits, signal })) {
    for (const rows of strips.strips(row)) scanner.push(rows);
    await takeRows();
  }
  scanner.finish();
  await takeRows();
}

/** Writes the frames of a DICOM segmentation. Its header lists the non-empty frames, known only after the first pass. */
async function writeSegmentation(
  { labelStore, signal, wideRowBytes }: WriteOutputsOptions,
  present: FirstPass["present"],
  sinks: OutputSinks,
): Promise<void> {
  const sink = await sinks.labels("labels.seg.dcm", labelStore.info, present);
  const bits = packedBitDepth(labelStore.info, wideRowBytes);
  let writes: Promise<void>[] = [];
  const visitor: TileVisitor = {
    tile(index, tile) {
      if (tile && sink) writes.push(sink.writeTile(0, index, tile));
    },
    async settle() {
      await Promise.all(writes);
      writes = [];
    },
  };
  for await (const _ of readTileRows(labelStore, visitor, { bits, signal }));
}
