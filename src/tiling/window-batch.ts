import type { Precision } from "./mask-record.ts";
import type { Scaling } from "./normalise.ts";
import { product, type Raster } from "./raster.ts";
import {
  type Fields,
  fieldsOf,
  finite,
  modelHash,
  precisionOf,
  shapeOf,
  variantName,
  windowNumbers,
} from "./wire-header.ts";
import { decodeMessage, encodeMessage, WireFormatError } from "./wire-message.ts";

export const WINDOW_BATCH_MAGIC = "TWWB";
export const WINDOW_BATCH_TYPE = "application/vnd.tilewright.window-batch";

/** Windows as pixels on their way to a model that runs elsewhere. */
export interface WindowBatch {
  /** Hash of the package's weights: a service that holds others must refuse. */
  model: string;
  variant: string;
  /** How the probabilities shall come back. */
  precision: Precision;
  /** Window numbers in their grid; the answer carries them. */
  windows: readonly number[];
  scaling: Scaling;
  /** `[N, ...window, C]` */
  pixels: Raster<Uint8Array | Uint16Array>;
}

export function encodeWindowBatch(batch: WindowBatch): Uint8Array<ArrayBuffer> {
  const { pixels, ...rest } = batch;
  const dtype = pixels.data instanceof Uint8Array ? "uint8" : "uint16";
  return encodeMessage(WINDOW_BATCH_MAGIC, { ...rest, dtype, shape: pixels.shape }, [pixels.data]);
}

/** Pixels lie in `bytes` where that is aligned, and are not copied. @throws {WireFormatError} */
export function decodeWindowBatch(bytes: Uint8Array): WindowBatch {
  const { header, payload } = decodeMessage(WINDOW_BATCH_MAGIC, bytes);
  const fields = fieldsOf(header);
  const shape = shapeOf(fields);
  const samples = product(shape);
  const { dtype } = fields;
  if (dtype !== "uint8" && dtype !== "uint16") {
    throw new WireFormatError('header field "dtype" must be "uint8" or "uint16"');
  }
  const expected = samples * (dtype === "uint8" ? 1 : 2);
  if (payload.length !== expected) {
    throw new WireFormatError(
      `the payload has ${payload.length} bytes, ${shape.join("×")} samples of ${dtype} have ${expected}`,
    );
  }
  const data =
    dtype === "uint8" ? payload : new Uint16Array(payload.buffer, payload.byteOffset, payload.length / 2);
  return {
    model: modelHash(fields),
    variant: variantName(fields),
    precision: precisionOf(fields),
    windows: windowNumbers(fields, shape[0]!),
    scaling: scalingOf(fields),
    pixels: { data, shape },
  };
}

function scalingOf(header: Fields): Scaling {
  const fields = fieldsOf(header.scaling);
  const scaling: Scaling = { low: finite(fields, "low"), high: finite(fields, "high") };
  if (fields.scale !== undefined) scaling.scale = finite(fields, "scale");
  if (fields.offset !== undefined) scaling.offset = finite(fields, "offset");
  if (fields.clip !== undefined) {
    const { clip } = fields;
    if (!Array.isArray(clip) || clip.length !== 2 || !clip.every((v) => Number.isFinite(v))) {
      throw new WireFormatError('header field "clip" must be two numbers');
    }
    scaling.clip = [clip[0], clip[1]];
  }
  return scaling;
}
