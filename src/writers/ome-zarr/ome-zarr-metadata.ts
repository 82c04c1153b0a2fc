import type { LabelMapInfo } from "../../image/label-sink.ts";
import { type PyramidLevel, pyramidLevels } from "../../tiling/objects/label-pyramid.ts";

/**
 * `zarr.json` of one level (Zarr v3 core spec): gzip, because zarr-python, zarrita and tensorstore all read it
 * without plugins. Level 0 carries the whole `LabelMapInfo`, which binds an unfinished label store to its label map.
 */
export function arrayMetadata(info: LabelMapInfo, level: number): unknown {
  const { shape } = pyramidLevels(info.shape, info.chunk)[level]!;
  return {
    zarr_format: 3,
    node_type: "array",
    shape,
    data_type: info.dtype,
    chunk_grid: { name: "regular", configuration: { chunk_shape: info.chunk } },
    chunk_key_encoding: { name: "default", configuration: { separator: "/" } },
    fill_value: 0,
    codecs: [
      { name: "bytes", configuration: { endian: "little" } },
      { name: "gzip", configuration: { level: 5 } },
    ],
    attributes: level === 0 ? { tilewright: { labelMap: info } } : {},
    dimension_names: [...info.axes],
  };
}

/** `zarr.json` of the image: OME-Zarr 0.5 `multiscales` with `image-label`. */
export function groupMetadata(info: LabelMapInfo): unknown {
  const axes = [...info.axes].map((name) => ({
    name,
    type: "space",
    ...(info.spacing === undefined ? {} : { unit: info.spacing.unit }),
  }));
  const datasets = pyramidLevels(info.shape, info.chunk).map((level, i) => ({
    path: String(i),
    coordinateTransformations: [
      { type: "scale", scale: levelScale(info, level) },
      { type: "translation", translation: levelTranslation(info, level) },
    ],
  }));
  return {
    zarr_format: 3,
    node_type: "group",
    attributes: {
      ome: {
        version: "0.5",
        multiscales: [
          {
            name: info.name,
            axes,
            datasets,
            type: "mode",
            metadata: {
              description:
                "Most frequent label of each 2x2 block; ties prefer the object, then the smaller label",
            },
          },
        ],
        "image-label": imageLabel(info),
      },
      tilewright: { placement: info.placement },
    },
  };
}

function imageLabel(info: LabelMapInfo): unknown {
  // There are too many objects to colour one by one; transparent background suits any map.
  if (info.classes.length === 0) return { colors: [{ "label-value": 0, rgba: [0, 0, 0, 0] }] };
  return {
    colors: info.classes.map((c, i) => ({ "label-value": i, rgba: [...rgb(c.color), i === 0 ? 0 : 255] })),
    properties: info.classes.map((c, i) => ({ "label-value": i, class: c.name })),
  };
}

/** Distance between samples of level 0 of the source; 1 (sample) if the spacing is unknown. */
function sourceSpacing(info: LabelMapInfo, axis: number): number {
  return info.spacing === undefined ? 1 : info.spacing.values[axis]! / info.placement.downsample[axis]!;
}

function levelScale(info: LabelMapInfo, level: PyramidLevel): number[] {
  return level.factor.map((f, a) =>
    info.spacing === undefined ? f * info.placement.downsample[a]! : f * info.spacing.values[a]!,
  );
}

/** Centre of the level's first sample, relative to the centre of the source's first sample. */
function levelTranslation(info: LabelMapInfo, level: PyramidLevel): number[] {
  const { origin, downsample } = info.placement;
  return level.factor.map((f, a) => (origin[a]! + (f * downsample[a]! - 1) / 2) * sourceSpacing(info, a));
}

/** `#rrggbb` as three numbers. */
function rgb(color: string): [number, number, number] {
  if (!/^#[0-9a-f]{6}$/i.test(color))
    throw new RangeError(`a colour must be #rrggbb, not ${JSON.stringify(color)}`);
  const value = Number.parseInt(color.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
