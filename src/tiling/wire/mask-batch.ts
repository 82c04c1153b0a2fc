import { product } from "../grid/raster.ts";
import type { MaskRecord, Precision } from "./mask-record.ts";
import {
  parseFields,
  parseModelHash,
  parsePrecision,
  parseShape,
  parseVariantName,
  parseWindowNumbers,
} from "./wire-header.ts";
import {
  decodeMessage,
  encodeMessage,
  FIXED_BYTES,
  MAX_HEADER_BYTES,
  WireFormatError,
} from "./wire-message.ts";

export const MASK_BATCH_MAGIC = "TWMB";
export const MASK_BATCH_TYPE = "application/vnd.tilewright.mask-batch";

const SAMPLE_BYTES: Record<Precision, number> = { u8: 1, f16: 2, f32: 4 };

/** Response with mask records of one precision. */
export interface MaskBatch {
  model: string;
  variant: string;
  precision: Precision;
  /** Shape of one record, `[K, ...window]`. */
  shape: readonly number[];
  records: readonly MaskRecord[];
}

export function encodeMaskBatch(batch: MaskBatch): Uint8Array<ArrayBuffer> {
  const { records, shape, ...rest } = batch;
  const windows = records.map((record) => record.window);
  return encodeMessage(
    MASK_BATCH_MAGIC,
    { ...rest, windows, shape: [records.length, ...shape] },
    records.map((record) => record.data),
  );
}

/** Maximum size of a message in bytes. @param shape shape of one record, `[K, ...window]` */
export function maxMaskBatchBytes(records: number, shape: readonly number[], precision: Precision): number {
  return FIXED_BYTES + MAX_HEADER_BYTES + records * product(shape) * SAMPLE_BYTES[precision];
}

/** Values are views of `bytes` if aligned, otherwise copies. @throws {WireFormatError} */
export function decodeMaskBatch(bytes: Uint8Array): MaskBatch {
  const { header, payload } = decodeMessage(MASK_BATCH_MAGIC, bytes);
  const fields = parseFields(header);
  const precision = parsePrecision(fields);
  const [count, ...shape] = parseShape(fields) as [number, ...number[]];
  const samples = product(shape);
  const expected = count * samples * SAMPLE_BYTES[precision];
  if (payload.length !== expected) {
    throw new WireFormatError(
      `the payload has ${payload.length} bytes, ${count} records of ${shape.join("×")} samples of ${precision} have ${expected}`,
    );
  }
  const { buffer, byteOffset } = payload;
  const all =
    precision === "u8"
      ? payload
      : precision === "f16"
        ? new Uint16Array(buffer, byteOffset, payload.length / 2)
        : new Float32Array(buffer, byteOffset, payload.length / 4);
  const records = parseWindowNumbers(fields, count).map((window, n) => ({
    window,
    precision,
    data: all.subarray(n * samples, (n + 1) * samples),
  }));
  return { model: parseModelHash(fields), variant: parseVariantName(fields), precision, shape, records };
}
