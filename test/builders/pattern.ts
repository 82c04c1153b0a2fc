import { allocate, type DType, product, type Raster, type Rect } from "../../src/tiling/grid/raster.ts";

/** A picture in which every sample differs from its neighbours in a known way: `[...spatial, channels]`. */
export function pattern(dtype: DType, shape: readonly number[]): Raster {
  const data = allocate(dtype, product(shape));
  const channels = shape.at(-1)!;
  const width = shape.at(-2)!;
  for (let i = 0; i < data.length; i++) {
    const c = i % channels;
    const pixel = (i - c) / channels;
    const x = pixel % width;
    const y = (pixel - x) / width;
    data[i] = x * 7 + y * 131 + c * 41 + ((x * y) % 31);
  }
  return { data, shape };
}

/** The part of a raster inside `rect`, by plain loops: the reference for `readRegion`. */
export function crop(raster: Raster, rect: Rect): Raster {
  const channels = raster.shape.at(-1)!;
  const [depth, height, width] = three(rect.size, 1);
  const [z0, y0, x0] = three(rect.origin, 0);
  const [, fullHeight, fullWidth] = three(raster.shape.slice(0, -1), 1);
  const data = new (raster.data.constructor as new (n: number) => typeof raster.data)(
    product(rect.size) * channels,
  );
  let to = 0;
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < channels; c++) {
          data[to++] = raster.data[(((z + z0) * fullHeight + y + y0) * fullWidth + x + x0) * channels + c]!;
        }
      }
    }
  }
  return { data, shape: [...rect.size, channels] };
}

function three(values: readonly number[], fill: number): [number, number, number] {
  return values.length === 3 ? [values[0]!, values[1]!, values[2]!] : [fill, values[0]!, values[1]!];
}
