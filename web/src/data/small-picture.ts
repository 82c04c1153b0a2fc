import type { ImageClient } from "./image-client.ts";
import type { OpenedImage } from "./image-messages.ts";

/** Above so many samples of the smallest level, too much would be read for a small picture. */
const MAX_SAMPLES = 24 * 2 ** 20;
const STRIP_SAMPLES = 2 * 2 ** 20;
/** Samples that a pixel is averaged from, along each axis. */
const TAPS = 3;

/** How the channels of a picture are mixed, as in the viewer. */
export interface PictureLook {
  visible: boolean;
  color: string;
  low: number;
  high: number;
}

/**
 * A small picture of a whole image; of a volume, of its middle slice. It is read in strips from the smallest level that has enough
 * pixels.
 * @param side of the picture's longer axis in pixels
 * @returns undefined where even the smallest level is too large to be read for this
 */
export async function readSmallPicture(
  client: ImageClient,
  { report, range }: OpenedImage,
  looks: readonly PictureLook[],
  side: number,
  signal: AbortSignal,
): Promise<ImageData | undefined> {
  const plane = (shape: readonly number[]) => shape.slice(-2) as [height: number, width: number];
  const isLarge = ({ shape }: { shape: readonly number[] }) => Math.max(...plane(shape)) >= side;
  const level = Math.max(0, report.levels.findLastIndex(isLarge));
  const { shape } = report.levels[level]!;
  const [height, width] = plane(shape);
  const channels = report.channels.length;
  if (height * width * channels > MAX_SAMPLES) return undefined;
  const scale = Math.min(1, side / Math.max(height, width));
  const picture = new ImageData(
    Math.max(1, Math.round(width * scale)),
    Math.max(1, Math.round(height * scale)),
  );
  const slice = shape.length === 3 ? [Math.floor(shape[0]! / 2)] : [];
  const mix = createMixer(looks, range);
  const rows = Math.max(1, Math.floor(STRIP_SAMPLES / (width * channels)));
  const at = (n: number, of: number, samples: number, tap: number) =>
    Math.min(samples - 1, Math.floor(((n + (tap + 0.5) / TAPS) / of) * samples));
  for (let from = 0, y = 0; from < height && y < picture.height; from += rows) {
    const count = Math.min(rows, height - from);
    const { data } = await client.readSamples(
      { level, origin: [...slice, from, 0], size: [...slice.map(() => 1), count, width] },
      signal,
    );
    // The rows of the picture whose last sample lies in this strip; their first ones are taken from it too.
    for (; y < picture.height && at(y, picture.height, height, TAPS - 1) < from + count; y++) {
      for (let x = 0; x < picture.width; x++) {
        const sum = [0, 0, 0];
        for (let tap = 0; tap < TAPS * TAPS; tap++) {
          const row = Math.max(0, at(y, picture.height, height, Math.floor(tap / TAPS)) - from);
          const column = at(x, picture.width, width, tap % TAPS);
          mix(data, (row * width + column) * channels, sum);
        }
        const to = 4 * (y * picture.width + x);
        for (let c = 0; c < 3; c++) picture.data[to + c] = (255 * sum[c]!) / (TAPS * TAPS);
        picture.data[to + 3] = 255;
      }
    }
  }
  return picture;
}

/** Adds the colour of a sample to a sum of red, green and blue, each 0 to 1. */
function createMixer(looks: readonly PictureLook[], { low, high }: { low: number; high: number }) {
  const span = high - low || 1;
  const shown = looks.flatMap((look, channel) =>
    look.visible
      ? [
          {
            channel,
            from: low + look.low * span,
            factor: 1 / ((look.high - look.low) * span || 1),
            color: [1, 3, 5].map((at) => Number.parseInt(look.color.slice(at, at + 2), 16) / 255),
          },
        ]
      : [],
  );
  return (data: ArrayLike<number>, offset: number, sum: number[]) => {
    const mixed = [0, 0, 0];
    for (const { channel, from, factor, color } of shown) {
      const value = Math.min(1, Math.max(0, (data[offset + channel]! - from) * factor)) || 0;
      for (let c = 0; c < 3; c++) mixed[c]! += value * color[c]!;
    }
    for (let c = 0; c < 3; c++) sum[c]! += Math.min(1, mixed[c]!);
  };
}
