import { type Affine, validateAffine } from "../../image/affine.ts";
import { ImageFormatError } from "../../image/errors.ts";
import { MAX_SIDE } from "../../image/limits.ts";
import { NIFTI_TYPES, type NiftiType, UNSUPPORTED_TYPES } from "./sample-types.ts";

/** Bytes that hold either version of the header. */
export const NIFTI_HEADER_BYTES = 540;

export interface NiftiHeader {
  version: 1 | 2;
  littleEndian: boolean;
  /** Samples along i, j and k, i fastest. */
  size: [number, number, number];
  type: NiftiType;
  /** Offset of the samples in the (inflated) file. */
  dataOffset: number;
  /** Value = stored · slope + intercept; undefined when values are used as stored. */
  scale: { slope: number; intercept: number } | undefined;
  affine: Affine | undefined;
  /** The source of the affine. */
  affineFrom: "sform" | "qform" | "pixdim";
  /** Volumes in the file, of which one is read. */
  times: number;
  warnings: readonly string[];
  /** The header as stored, 348 or 540 bytes. */
  bytes: Uint8Array;
}

/** Which header the first bytes are; `undefined` for neither NIfTI nor Analyze. */
export function niftiKind(
  head: Uint8Array,
): { version: 1 | 2; littleEndian: boolean; magic: string } | undefined {
  if (head.length < 348) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  for (const littleEndian of [true, false]) {
    const size = view.getInt32(0, littleEndian);
    if (size === 348) return { version: 1, littleEndian, magic: ascii(head, 344) };
    if (size === 540 && head.length >= NIFTI_HEADER_BYTES)
      return { version: 2, littleEndian, magic: ascii(head, 4) };
  }
  return undefined;
}

/**
 * Parses a NIfTI-1 or NIfTI-2 header and checks every field that a reader relies on. Layouts: nifti1.h and nifti2.h
 * of the NIfTI data format working group; precedence of the transforms and their defaults are nibabel's.
 *
 * Written by hand: nifti-reader-js wants the whole file in memory. This reader takes slices by ranges, or from a gzip
 * stream, and checks what a header states before anything is allocated.
 * @param time number of the volume, from 1, if there are several
 * @throws {ImageFormatError} with a message that begins with `key`
 */
export function parseNiftiHeader(head: Uint8Array, key: string, time?: number): NiftiHeader {
  const formatError = (reason: string) => new ImageFormatError(`${key} ${reason}`);
  const kind = niftiKind(head);
  if (kind === undefined) throw formatError("is not a NIfTI file: its header is missing");
  const { version, littleEndian, magic } = kind;
  if (magic === "ni1\0" || magic === "ni2\0")
    throw formatError("is one half of a NIfTI pair (.hdr and .img); convert it to a single .nii");
  if (magic !== (version === 1 ? "n+1\0" : "n+2\0"))
    throw formatError("is an Analyze file or a damaged NIfTI file; convert it to NIfTI");

  const field = readFields(head, version, littleEndian);
  const dim = field.dim;
  const rank = dim[0]!;
  if (!(rank >= 1 && rank <= 7)) throw formatError(`is damaged: its header states ${rank} dimensions`);
  const sides = dim.slice(1, 1 + rank);
  if (sides.some((n) => !(Number.isSafeInteger(n) && n >= 1 && n <= MAX_SIDE)))
    throw formatError(`is damaged: its header states a size of ${sides.join(" × ")}`);
  const [times = 1, ...more] = sides.slice(3);
  if (times > 1 && time === undefined)
    throw formatError(`is a series of ${times} volumes; choose one by its number (--time 1 to ${times})`);
  if (time !== undefined && time > times)
    throw formatError(
      `holds ${times === 1 ? "one volume" : `${times} volumes`}, and number ${time} is wanted`,
    );
  if (more.some((n) => n > 1))
    throw formatError(
      `holds several values a sample (${sides.join(" × ")}), which is not supported; export one of them`,
    );
  if (rank < 2) throw formatError("is not an image: it has one dimension");

  const unsupportedType = UNSUPPORTED_TYPES[field.datatype];
  if (unsupportedType !== undefined)
    throw formatError(`holds ${unsupportedType} samples, which are not supported; export real numbers`);
  const type = NIFTI_TYPES[field.datatype];
  if (type === undefined)
    throw formatError(`is damaged: its header states the sample type ${field.datatype}`);
  if (field.bitpix !== type.bytes * 8) {
    throw formatError(`is damaged: its header states ${field.bitpix} bits for samples of type ${type.name}`);
  }
  const headerBytes = version === 1 ? 348 : 540;
  // The four bytes in between announce extensions.
  const earliest = headerBytes + 4;
  // Some writers use it for "right behind the header".
  const firstOffset = field.voxOffset === 0 ? earliest : field.voxOffset;
  if (!(Number.isSafeInteger(firstOffset) && firstOffset >= earliest))
    throw formatError(
      `is damaged: its samples are said to begin at byte ${field.voxOffset}, inside the header`,
    );

  const size: [number, number, number] = [sides[0]!, sides[1]!, sides[2] ?? 1];
  const volumeBytes = size[0] * size[1] * size[2] * type.bytes;
  const dataOffset = firstOffset + volumeBytes * ((time ?? 1) - 1);
  if (!Number.isSafeInteger(dataOffset + volumeBytes))
    throw formatError(`is damaged: its header states a size of ${sides.join(" × ")}`);
  return {
    version,
    littleEndian,
    size,
    type,
    dataOffset,
    times,
    scale: parseScale(field.slope, field.intercept, formatError),
    ...readAffine(field, size, formatError),
    bytes: head.slice(0, headerBytes),
  };
}

interface Fields {
  dim: number[];
  datatype: number;
  bitpix: number;
  pixdim: number[];
  voxOffset: number;
  slope: number;
  intercept: number;
  units: number;
  qformCode: number;
  sformCode: number;
  quaternion: number[];
  offset: number[];
  srow: number[][];
  /** Rounding error of a stored quaternion. */
  epsilon: number;
}

function readFields(head: Uint8Array, version: 1 | 2, little: boolean): Fields {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const several = <T>(count: number, at: (i: number) => T) => Array.from({ length: count }, (_, i) => at(i));
  const i16 = (offset: number) => view.getInt16(offset, little);
  const i32 = (offset: number) => view.getInt32(offset, little);
  const i64 = (offset: number) => Number(view.getBigInt64(offset, little));
  const f32 = (offset: number) => view.getFloat32(offset, little);
  const f64 = (offset: number) => view.getFloat64(offset, little);
  if (version === 1) {
    return {
      dim: several(8, (i) => i16(40 + 2 * i)),
      datatype: i16(70),
      bitpix: i16(72),
      pixdim: several(8, (i) => f32(76 + 4 * i)),
      voxOffset: f32(108),
      slope: f32(112),
      intercept: f32(116),
      units: head[123]!,
      qformCode: i16(252),
      sformCode: i16(254),
      quaternion: several(3, (i) => f32(256 + 4 * i)),
      offset: several(3, (i) => f32(268 + 4 * i)),
      srow: several(3, (row) => several(4, (i) => f32(280 + 16 * row + 4 * i))),
      epsilon: 2 ** -23,
    };
  }
  return {
    dim: several(8, (i) => i64(16 + 8 * i)),
    datatype: i16(12),
    bitpix: i16(14),
    pixdim: several(8, (i) => f64(104 + 8 * i)),
    voxOffset: i64(168),
    slope: f64(176),
    intercept: f64(184),
    units: i32(500),
    qformCode: i32(344),
    sformCode: i32(348),
    quaternion: several(3, (i) => f64(352 + 8 * i)),
    offset: several(3, (i) => f64(376 + 8 * i)),
    srow: several(3, (row) => several(4, (i) => f64(400 + 32 * row + 8 * i))),
    epsilon: 2 ** -52,
  };
}

/** A slope of 0 or NaN means no scaling. */
function parseScale(
  slope: number,
  intercept: number,
  formatError: (reason: string) => Error,
): NiftiHeader["scale"] {
  if (slope === 0 || !Number.isFinite(slope)) return undefined;
  if (!Number.isFinite(intercept)) throw formatError("is damaged: its header scales by an invalid number");
  return slope === 1 && intercept === 0 ? undefined : { slope, intercept };
}

/**
 * The sform if it is set, else the qform, else sizes alone about the centre with x to the left (nibabel's choice). A
 * singular one counts as not set. The sign of sizes is ignored, as in nibabel.
 */
function readAffine(
  field: Fields,
  size: readonly number[],
  formatError: (reason: string) => Error,
): Pick<NiftiHeader, "affine" | "affineFrom" | "warnings"> {
  const unit = millimetresPerUnit(field.units);
  const inMillimetres = (rows: number[][]) =>
    validateAffine([...rows.map((row) => row.map((v) => v * unit)), [0, 0, 0, 1]]);
  const warnings: string[] = [];
  if (field.sformCode > 0) {
    const affine = inMillimetres(field.srow);
    if (affine !== undefined) return { affine, affineFrom: "sform", warnings };
    warnings.push(
      `its sform is singular and is ignored; ${field.qformCode > 0 ? "its qform" : "its pixel sizes alone"} is used`,
    );
  }
  // Along a single sample any size is valid.
  const zooms = field.pixdim.slice(1, 4).map((zoom, axis) => Math.abs(zoom) || (size[axis] === 1 ? 1 : zoom));
  if (field.pixdim.slice(1, 4).some((zoom) => zoom < 0))
    warnings.push("its pixel sizes are negative; their sign is ignored, as in nibabel");
  const missing = zooms.flatMap((zoom, axis) => (zoom > 0 && Number.isFinite(zoom) ? [] : ["ijk"[axis]]));
  if (missing.length > 0)
    warnings.push(
      `its header states no pixel size along ${missing.join(" and ")}, so its spacing is unknown`,
    );
  if (field.qformCode > 0) {
    const rotation = rotationMatrix(field);
    if (rotation === undefined) throw formatError("is damaged: its orientation (qform) is not a rotation");
    const flip = field.pixdim[0]! < 0 ? -1 : 1;
    const scales = [zooms[0]!, zooms[1]!, zooms[2]! * flip];
    const rows = rotation.map((row, r) => [...row.map((v, c) => v * scales[c]!), field.offset[r]!]);
    return { affine: inMillimetres(rows), affineFrom: "qform", warnings };
  }
  const signed = [-zooms[0]!, zooms[1]!, zooms[2]!];
  const rows = signed.map((zoom, r) => [
    ...signed.map((_, c) => (r === c ? zoom : 0)),
    (-(size[r]! - 1) / 2) * zoom,
  ]);
  return { affine: inMillimetres(rows), affineFrom: "pixdim", warnings };
}

/** Bits 0 to 2 of xyzt_units: metres, millimetres, micrometres. Unknown means millimetres, as everywhere. */
function millimetresPerUnit(units: number): number {
  const unit = units & 7;
  return unit === 1 ? 1000 : unit === 3 ? 0.001 : 1;
}

/** The rotation of a unit quaternion whose real part the header omits. */
function rotationMatrix({ quaternion, epsilon }: Fields): number[][] | undefined {
  const [b, c, d] = quaternion as [number, number, number];
  const rest = 1 - (b * b + c * c + d * d);
  if (!(rest >= -3 * epsilon)) return undefined;
  // Like nibabel: a remainder from rounding counts as 0, since its root would be a turn of 0.03°.
  const a = rest < 3 * epsilon ? 0 : Math.sqrt(rest);
  // nibabel's quat2mat, which is exact for lengths that are not quite 1.
  const s = 2 / (a * a + b * b + c * c + d * d);
  return [
    [1 - s * (c * c + d * d), s * (b * c - a * d), s * (b * d + a * c)],
    [s * (b * c + a * d), 1 - s * (b * b + d * d), s * (c * d - a * b)],
    [s * (b * d - a * c), s * (c * d + a * b), 1 - s * (b * b + c * c)],
  ];
}

function ascii(bytes: Uint8Array, offset: number): string {
  return String.fromCharCode(...bytes.subarray(offset, offset + 4));
}
