import { describeImage } from "../../../src/image/describe.ts";
import type { ImageSource } from "../../../src/image/image-source.ts";
import { openImage } from "../../../src/readers/open-image.ts";
import { ObjectChangedError } from "../../../src/storage/errors.ts";
import type {
  ImageRequest,
  ImageResponse,
  OpenedImage,
  RawSamples,
  ReadSamples,
  SampleRange,
} from "../data/image-messages.ts";
import { openPlace, type PlacedKey } from "../data/place.ts";
import { loadCodecModule, registerCodecModules } from "./codec-modules.ts";
import { finiteRange, suggestContrast, toPlanes } from "./sample-planes.ts";

const MIB = 2 ** 20;
/** Of each of a few workers. */
const LIMITS = { regionBytes: 256 * MIB, cacheBytes: 48 * MIB, storedCacheBytes: 16 * MIB };
/** Side of the part that ranges and contrasts are measured in. */
const MEASURED_SIDE = 1024;

/**
 * Half-precision floats are fine near 0, where dark pixels of a wide range lie. Signed samples (CT) have theirs in the
 * middle, so their range is that of the measured part: what lies beyond it is black or white.
 */
const RANGES: Partial<Record<ImageSource["dtype"], SampleRange>> = {
  uint8: { low: 0, high: 255 },
  uint16: { low: 0, high: 65_535 },
};

let image: ImageSource | undefined;
const controllers = new Map<number, AbortController>();

registerCodecModules();

self.onmessage = ({ data: request }: MessageEvent<ImageRequest>) => {
  if (request.kind === "cancel") return controllers.get(request.id)?.abort();
  if (request.kind === "prepare") return void loadCodecModule("jpeg").catch(() => {});
  void answer(request);
};

async function answer(request: Exclude<ImageRequest, { kind: "cancel" | "prepare" }>): Promise<void> {
  const controller = new AbortController();
  controllers.set(request.id, controller);
  try {
    const value =
      request.kind === "open" ? await open(request.address) : await read(request, controller.signal);
    respond({ id: request.id, ok: true, value }, "data" in value ? [value.data.buffer as ArrayBuffer] : []);
  } catch (error) {
    const isAbort = controller.signal.aborted;
    respond({ id: request.id, ok: false, isAbort, message: sentence(error) });
  } finally {
    controllers.delete(request.id);
  }
}

function respond(response: ImageResponse, transfer: Transferable[] = []): void {
  self.postMessage(response, { transfer });
}

async function open({ place, key }: PlacedKey): Promise<OpenedImage> {
  image = await openImage(openPlace(place), key, { limits: LIMITS });
  const report = describeImage(image);
  const isColor = image.dtype === "uint8" && image.channels.length === 3;
  const known = RANGES[image.dtype];
  if (isColor) return { report, range: known!, contrast: image.channels.map(() => known!) };
  const level = image.levels.length - 1;
  const { shape } = image.levels[level]!;
  // The middle of the coarsest level; of a volume its middle slice.
  const size = shape.map((n, axis) => (axis < shape.length - 2 ? 1 : Math.min(n, MEASURED_SIDE)));
  const origin = shape.map((n, axis) => Math.floor((n - size[axis]!) / 2));
  const { data } = await image.readRegion(level, { origin, size });
  const count = image.channels.length;
  return {
    report,
    range: known ?? finiteRange(data),
    contrast: image.channels.map((_, channel) => suggestContrast(data, count, channel)),
  };
}

async function read(
  request: Extract<ImageRequest, { kind: "read" }>,
  signal: AbortSignal,
): Promise<ReadSamples | RawSamples> {
  if (image === undefined) throw new Error("the image is not open");
  const { level, origin, size, form, range = { low: 0, high: 255 }, maxChannels } = request;
  const { data } = await image.readRegion(level, { origin, size }, { signal });
  signal.throwIfAborted();
  const count = image.channels.length;
  if (form === "bytes") {
    if (!(data instanceof Uint8Array) || count !== 1) throw new Error("the label map does not hold bytes");
    return { shape: size, channels: 1, data: data as Uint8Array<ArrayBuffer> };
  }
  if (form === "samples") return { shape: size, channels: count, data };
  const shown = Math.min(count, maxChannels ?? count);
  return { shape: size, channels: shown, data: toPlanes(data, count, shown, range) };
}

/** Errors of the readers are sentences; any other is a bug, and says so. */
function sentence(error: unknown): string {
  if (error instanceof ObjectChangedError) return `${error.key} has changed; reload the page`;
  if (!(error instanceof Error)) return String(error);
  return error.message;
}
