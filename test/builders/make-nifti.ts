import { gzipSync } from "node:zlib";
import type { DType, SampleArray } from "../../src/tiling/grid/raster.ts";

export type StoredType = DType | "int64" | "uint64";

const CODES: Record<StoredType, [code: number, bytes: number]> = {
  uint8: [2, 1],
  int16: [4, 2],
  int32: [8, 4],
  float32: [16, 4],
  float64: [64, 8],
  int8: [256, 1],
  uint16: [512, 2],
  uint32: [768, 4],
  int64: [1024, 8],
  uint64: [1280, 8],
};

export interface MadeNifti {
  version?: 1 | 2;
  littleEndian?: boolean;
  type: StoredType;
  /** i, j, k and any further sides. */
  size: readonly number[];
  /** Stored samples, i fastest. */
  data: SampleArray | readonly number[];
  slope?: number;
  intercept?: number;
  sform?: { code: number; rows: readonly (readonly number[])[] };
  qform?: { code: number; quaternion: readonly number[]; offset: readonly number[] };
  pixdim?: readonly number[];
  units?: number;
  dataOffset?: number;
  gzip?: boolean;
}

/** Writes a NIfTI file, field by field. */
export function makeNifti(made: MadeNifti): Uint8Array {
  const { version = 1, littleEndian: little = true, type, size, data } = made;
  const [code, bytes] = CODES[type];
  const one = version === 1;
  const offset = made.dataOffset ?? (one ? 352 : 544);
  const out = new Uint8Array(offset + data.length * bytes);
  const view = new DataView(out.buffer);
  const real = (at: number, value: number) =>
    one ? view.setFloat32(at, value, little) : view.setFloat64(at, value, little);
  const step = one ? 4 : 8;
  view.setInt32(0, one ? 348 : 540, little);
  const dim = [size.length, ...size, ...Array(7 - size.length).fill(1)];
  for (const [i, n] of dim.entries()) {
    if (one) view.setInt16(40 + 2 * i, n, little);
    else view.setBigInt64(16 + 8 * i, BigInt(n), little);
  }
  view.setInt16(one ? 70 : 12, code, little);
  view.setInt16(one ? 72 : 14, bytes * 8, little);
  for (const [i, p] of (made.pixdim ?? [1, 1, 1, 1, 0, 0, 0, 0]).entries())
    real((one ? 76 : 104) + step * i, p);
  if (one) view.setFloat32(108, offset, little);
  else view.setBigInt64(168, BigInt(offset), little);
  real(one ? 112 : 176, made.slope ?? 0);
  real(one ? 116 : 184, made.intercept ?? 0);
  if (one) out[123] = made.units ?? 2;
  else view.setInt32(500, made.units ?? 2, little);
  const codeAt = (at: number, value: number) =>
    one ? view.setInt16(at, value, little) : view.setInt32(at, value, little);
  codeAt(one ? 252 : 344, made.qform?.code ?? 0);
  codeAt(one ? 254 : 348, made.sform?.code ?? 0);
  for (let i = 0; i < 3; i++) {
    real((one ? 256 : 352) + step * i, made.qform?.quaternion[i] ?? 0);
    real((one ? 268 : 376) + step * i, made.qform?.offset[i] ?? 0);
    for (let c = 0; c < 4; c++) real((one ? 280 : 400) + step * (4 * i + c), made.sform?.rows[i]?.[c] ?? 0);
  }
  out.set(new TextEncoder().encode(one ? "n+1\0" : "n+2\0\r\n\x1a\n"), one ? 344 : 4);
  for (let i = 0, at = offset; i < data.length; i++, at += bytes) PUT[type](view, at, data[i]!, little);
  return made.gzip ? new Uint8Array(gzipSync(out)) : out;
}

type Put = (view: DataView, at: number, value: number, little: boolean) => void;

const PUT: Record<StoredType, Put> = {
  uint8: (view, at, value) => view.setUint8(at, value),
  int8: (view, at, value) => view.setInt8(at, value),
  uint16: (view, at, value, little) => view.setUint16(at, value, little),
  int16: (view, at, value, little) => view.setInt16(at, value, little),
  uint32: (view, at, value, little) => view.setUint32(at, value, little),
  int32: (view, at, value, little) => view.setInt32(at, value, little),
  float32: (view, at, value, little) => view.setFloat32(at, value, little),
  float64: (view, at, value, little) => view.setFloat64(at, value, little),
  int64: (view, at, value, little) => view.setBigInt64(at, BigInt(value), little),
  uint64: (view, at, value, little) => view.setBigUint64(at, BigInt(value), little),
};
