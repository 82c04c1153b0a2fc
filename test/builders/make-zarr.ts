import { zlibSync } from "fflate";
import { allocate, type DType, product, type Raster } from "../../src/tiling/grid/raster.ts";
import { pattern } from "./pattern.ts";

export interface MadeZarr {
  version: "0.4" | "0.5";
  axes: string;
  shape: readonly number[];
  chunks: readonly number[];
  dtype: DType;
  key?: string;
  /** Per axis; default 0.5 each. */
  scale?: readonly number[];
  unit?: string;
  /** Added to the OME attributes. */
  attributes?: Record<string, unknown>;
}

const V2_TYPES: Partial<Record<DType, string>> = { uint8: "|u1", uint16: "<u2", float32: "<f4" };

/**
 * Writes an OME-Zarr image of one level. @returns what a reader must give: `[...spatial, channels]`, a single z
 * dropped
 */
export function makeOmeZarr(made: MadeZarr): { objects: Record<string, Uint8Array>; whole: Raster } {
  const { version, axes, shape, chunks, dtype, key = "made.ome.zarr" } = made;
  const size = (name: string) => (axes.includes(name) ? shape[axes.indexOf(name)]! : 1);
  const spatial = size("z") > 1 ? [size("z"), size("y"), size("x")] : [size("y"), size("x")];
  const whole = pattern(dtype, [...spatial, size("c")]);
  const sampleAt = (position: number[]) => {
    const at = (name: string) => (axes.includes(name) ? position[axes.indexOf(name)]! : 0);
    return whole.data[((at("z") * size("y") + at("y")) * size("x") + at("x")) * size("c") + at("c")]!;
  };

  const objects: Record<string, Uint8Array> = {};
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const multiscales = [
    {
      version,
      axes: [...axes].map((name) =>
        "zyx".includes(name)
          ? { name, type: "space", unit: made.unit ?? "micrometer" }
          : { name, type: name === "c" ? "channel" : "time" },
      ),
      datasets: [
        {
          path: "0",
          coordinateTransformations: [{ type: "scale", scale: made.scale ?? [...axes].map(() => 0.5) }],
        },
      ],
    },
  ];
  if (version === "0.4") {
    objects[`${key}/.zgroup`] = json({ zarr_format: 2 });
    objects[`${key}/.zattrs`] = json({ multiscales, ...made.attributes });
    objects[`${key}/0/.zarray`] = json({
      zarr_format: 2,
      shape,
      chunks,
      dtype: V2_TYPES[dtype],
      compressor: { id: "zlib", level: 1 },
      fill_value: 0,
      order: "C",
      filters: null,
      dimension_separator: "/",
    });
  } else {
    objects[`${key}/zarr.json`] = json({
      zarr_format: 3,
      node_type: "group",
      attributes: { ome: { version, multiscales, ...made.attributes } },
    });
    objects[`${key}/0/zarr.json`] = json({
      zarr_format: 3,
      node_type: "array",
      shape,
      data_type: dtype,
      chunk_grid: { name: "regular", configuration: { chunk_shape: chunks } },
      chunk_key_encoding: { name: "default", configuration: { separator: "/" } },
      codecs: [{ name: "bytes", configuration: { endian: "little" } }],
      fill_value: 0,
      attributes: {},
    });
  }

  const grid = shape.map((n, axis) => Math.ceil(n / chunks[axis]!));
  for (let i = 0; i < product(grid); i++) {
    const index = unravel(i, grid);
    const chunk = allocate(dtype, product(chunks));
    for (let j = 0; j < chunk.length; j++) {
      const position = unravel(j, chunks).map((p, axis) => p + index[axis]! * chunks[axis]!);
      if (position.every((p, axis) => p < shape[axis]!)) chunk[j] = sampleAt(position);
    }
    const bytes = new Uint8Array(chunk.buffer as ArrayBuffer);
    if (version === "0.4") objects[`${key}/0/${index.join("/")}`] = zlibSync(bytes);
    else objects[`${key}/0/c/${index.join("/")}`] = bytes;
  }
  return { objects, whole };
}

function unravel(index: number, shape: readonly number[]): number[] {
  const position = new Array<number>(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    position[axis] = index % shape[axis]!;
    index = Math.floor(index / shape[axis]!);
  }
  return position;
}
