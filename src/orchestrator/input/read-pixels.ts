import { allocate, getDType, type Raster, type Rect } from "../../tiling/grid/raster.ts";
import { JobError } from "../errors.ts";
import type { WindowSource } from "./reoriented-image.ts";

/** The source channels that feed the model: all, or the requested ones. A grey source feeds every model channel. */
export function chooseChannels(
  source: Pick<WindowSource, "channels">,
  modelChannels: number,
  chosen: readonly number[] | undefined,
): readonly number[] {
  const available = source.channels.length;
  const names = source.channels.map((c, i) => `${i}${c.name ? ` (${c.name})` : ""}`).join(", ");
  const channels = chosen ?? source.channels.map((_, i) => i);
  for (const c of channels) {
    if (c >= available) throw new JobError(`channel ${c} does not exist; the image has ${names}`);
  }
  if (channels.length !== modelChannels && channels.length !== 1) {
    throw new JobError(
      `the image has ${available} channels (${names}), the model takes ${modelChannels}: choose them with --channels`,
    );
  }
  return channels;
}

/** Reads a region and keeps only `channels`: `[...size, channels]`. */
export async function readPixels(
  source: WindowSource,
  level: number,
  rect: Rect,
  channels: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Raster> {
  const raster = await source.readRegion(level, rect, { signal });
  const from = source.channels.length;
  if (channels.length === from && channels.every((c, i) => c === i)) return raster;
  const to = channels.length;
  const samples = raster.data.length / from;
  const data = allocate(getDType(raster.data), samples * to);
  for (let c = 0; c < to; c++) {
    const offset = channels[c]!;
    for (let i = 0; i < samples; i++) data[i * to + c] = raster.data[i * from + offset]!;
  }
  return { data, shape: [...rect.size, to] };
}
