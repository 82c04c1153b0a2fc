import {
  bytesPerSample,
  type DType,
  getDType,
  product,
  type Raster,
  type SampleArray,
} from "../grid/raster.ts";
import type { IntensityNormalization } from "../pixels/normalize.ts";
import type { Precision } from "./mask-record.ts";
import {
  type Fields,
  parseFields,
  parseFinite,
  parseModelHash,
  parsePrecision,
  parseShape,
  parseVariantName,
  parseWindowNumbers,
} from "./wire-header.ts";
import { decodeMessage, encodeMessage, WireFormatError } from "./wire-message.ts";

export const WINDOW_BATCH_MAGIC = "TWWB";
export const WINDOW_BATCH_TYPE = "application/vnd.tilewright.window-batch";

/** Pixel types of a message: those of scans, at most four bytes for alignment. */
const TYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32"] as const;
export type WirePixels = Exclude<SampleArray, Float64Array>;

/** Request with the pixels of windows. */
export interface WindowBatch {
  /** Hash of the model package: a service with another one must reject the request. */
  model: string;
  variant: string;
  /** Precision of the response. */
  precision: Precision;
  /** Window numbers in their grid; the response repeats them. */
  windows: readonly number[];
  scaling: IntensityNormalization;
  /** `[N, ...window, C]` */
  pixels: Raster<WirePixels>;
}

export function encodeWindowBatch(batch: WindowBatch): Uint8Array<ArrayBuffer> {
  const { pixels, ...rest } = batch;
  const dtype = getDType(pixels.data);
  return encodeMessage(WINDOW_BATCH_MAGIC, { ...rest, dtype, shape: pixels.shape }, [pixels.data]);
}

/** Pixels are a view of `bytes` if aligned, otherwise a copy. @throws {WireFormatError} */
export function decodeWindowBatch(bytes: Uint8Array): WindowBatch {
  const { header, payload } = decodeMessage(WINDOW_BATCH_MAGIC, bytes);
  const fields = parseFields(header);
  const shape = parseShape(fields);
  const samples = product(shape);
  const dtype = TYPES.find((type) => type === fields.dtype);
  if (dtype === undefined) {
    throw new WireFormatError(`header field "dtype" must be one of ${TYPES.join(", ")}`);
  }
  const expected = samples * bytesPerSample(dtype);
  if (payload.length !== expected) {
    throw new WireFormatError(
      `the payload has ${payload.length} bytes, ${shape.join("×")} samples of ${dtype} have ${expected}`,
    );
  }
  const data = view(dtype, payload, samples);
  return {
    model: parseModelHash(fields),
    variant: parseVariantName(fields),
    precision: parsePrecision(fields),
    windows: parseWindowNumbers(fields, shape[0]!),
    scaling: parseNormalization(fields),
    pixels: { data, shape },
  };
}

/** Samples as a view of their bytes, or a copy if not aligned. */
function view(dtype: DType, { buffer, byteOffset }: Uint8Array, length: number): WirePixels {
  switch (dtype) {
    case "uint16":
      return new Uint16Array(buffer, byteOffset, length);
    case "uint32":
      return new Uint32Array(buffer, byteOffset, length);
    case "int8":
      return new Int8Array(buffer, byteOffset, length);
    case "int16":
      return new Int16Array(buffer, byteOffset, length);
    case "int32":
      return new Int32Array(buffer, byteOffset, length);
    case "float32":
      return new Float32Array(buffer, byteOffset, length);
    default:
      return new Uint8Array(buffer, byteOffset, length);
  }
}

function parseNormalization(header: Fields): IntensityNormalization {
  const fields = parseFields(header.scaling);
  const scaling: IntensityNormalization = {
    low: parseFinite(fields, "low"),
    high: parseFinite(fields, "high"),
  };
  const range = scaling.high - scaling.low;
  if (!(range > 0) || !Number.isFinite(range)) {
    throw new WireFormatError('header field "high" must exceed "low" by a finite number');
  }
  if (fields.scale !== undefined) scaling.scale = parseFinite(fields, "scale");
  if (fields.offset !== undefined) scaling.offset = parseFinite(fields, "offset");
  if (fields.clip !== undefined) {
    const { clip } = fields;
    if (
      !Array.isArray(clip) ||
      clip.length !== 2 ||
      !clip.every((v) => Number.isFinite(v)) ||
      clip[0] >= clip[1]
    ) {
      throw new WireFormatError('header field "clip" must be two numbers, the lower one first');
    }
    scaling.clip = [clip[0], clip[1]];
  }
  return scaling;
}
