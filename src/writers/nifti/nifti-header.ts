import { type Affine, columnLengths, placeAffine } from "../../image/affine.ts";
import type { LabelMapInfo } from "../../image/label-sink.ts";
import { parseNiftiHeader } from "../../readers/nifti/header.ts";

/** Constants of nifti1.h. */
const UINT8 = 2;
const INTENT_LABEL = 1002;
const SCANNER_ANATOMICAL = 1;
const MILLIMETRES = 2;
/** Longest side that a NIfTI-1 header can state. */
const MAX_SIDE_1 = 32767;
/** Axes with a smaller cosine between them are at right angles, as a quaternion requires. */
const RIGHT_ANGLE = 1e-5;

/** Offsets of the fields in each version: nifti1.h and nifti2.h. */
const LAYOUTS = {
  1: {
    headerBytes: 348,
    dim: 40,
    intent: 56,
    intentCode: 68,
    datatype: 70,
    pixdim: 76,
    voxOffset: 108,
    slope: 112,
    calMax: 124,
    calMin: 128,
    descrip: 148,
    qformCode: 252,
    sformCode: 254,
    quaternion: 256,
    srow: 280,
    intentName: 328,
    units: 123,
  },
  2: {
    headerBytes: 540,
    dim: 16,
    intent: 80,
    intentCode: 504,
    datatype: 12,
    pixdim: 104,
    voxOffset: 168,
    slope: 176,
    calMax: 192,
    calMin: 200,
    descrip: 240,
    qformCode: 344,
    sformCode: 348,
    quaternion: 352,
    srow: 400,
    intentName: 508,
    units: 500,
  },
} as const;

/**
 * Header of a label volume, and the four bytes that announce no extension. It is made from the source's header if
 * there is one: on the source's grid the fields of space, units and origin stay byte for byte, on another grid they
 * come from `affine`; the fields of samples become those of labels (uint8, intent LABEL).
 * @param affine of level 0 of the source
 * @param stored the source's header, 348 or 540 bytes
 */
export function niftiLabelHeader(
  info: LabelMapInfo,
  affine: Affine | undefined,
  stored?: Uint8Array,
): Uint8Array {
  const parsed = stored && parseNiftiHeader(stored, "the source");
  const version = parsed?.version ?? (info.shape.every((n) => n <= MAX_SIDE_1) ? 1 : 2);
  const fields = new HeaderFields(version, parsed?.littleEndian ?? true, stored);
  const { at } = fields;
  const shape = info.shape.toReversed();
  [3, ...shape, 1, 1, 1, 1].forEach((n, i) => {
    fields.setSide(i, n);
  });
  for (let i = 0; i < 3; i++) fields.setReal(at.intent, i, 0);
  fields.setCode(at.intentCode, INTENT_LABEL);
  fields.setText(at.intentName, 16, info.name);
  fields.view.setInt16(at.datatype, UINT8, fields.little);
  fields.view.setInt16(at.datatype + 2, 8, fields.little);
  fields.setVoxOffset();
  fields.setReal(at.slope, 0, 1);
  fields.setReal(at.slope, 1, 0);
  fields.setReal(at.calMax, 0, Math.max(0, info.classes.length - 1));
  fields.setReal(at.calMin, 0, 0);

  const placed = affine && placeAffine(affine, info.placement);
  if (parsed?.affine !== undefined && placed !== undefined && sameAffine(parsed.affine, placed))
    return fields.bytes;
  if (parsed === undefined) fields.setText(at.descrip, 80, "Tilewright");
  fields.setSpatialUnit(MILLIMETRES);
  if (placed !== undefined) {
    fields.setAffine(
      placed,
      parsed && parsed.affineFrom !== "pixdim" ? fields.spaceCode() : SCANNER_ANATOMICAL,
    );
    return fields.bytes;
  }
  // Only the distances are known: both codes stay 0, which means "no space".
  const unit = info.spacing?.unit === "micrometer" ? 0.001 : 1;
  const steps = (info.spacing?.values ?? [1, 1, 1]).toReversed().map((v) => v * unit);
  fields.setCode(at.qformCode, 0);
  fields.setCode(at.sformCode, 0);
  fields.setPixdim(1, steps);
  return fields.bytes;
}

/** Codes of sample types in nifti1.h, and their bits. */
const IMAGE_TYPES = {
  uint8: [2, 8],
  int16: [4, 16],
  float32: [16, 32],
  rgb24: [128, 24],
  uint16: [512, 16],
} as const;

/**
 * Header of a volume of plain samples, little-endian, and the four bytes that announce no extension.
 * @param shape slow to fast
 * @param affine index (x, y, z) to millimetres, RAS+
 */
export function niftiImageHeader({
  shape,
  affine,
  type,
  isLabel = false,
}: {
  shape: readonly number[];
  affine: Affine;
  type: keyof typeof IMAGE_TYPES;
  isLabel?: boolean;
}): Uint8Array {
  const fields = new HeaderFields(shape.every((n) => n <= MAX_SIDE_1) ? 1 : 2, true, undefined);
  const { at } = fields;
  [3, ...shape.toReversed(), 1, 1, 1, 1].forEach((n, i) => {
    fields.setSide(i, n);
  });
  if (isLabel) fields.setCode(at.intentCode, INTENT_LABEL);
  const [code, bits] = IMAGE_TYPES[type];
  fields.view.setInt16(at.datatype, code, true);
  fields.view.setInt16(at.datatype + 2, bits, true);
  fields.setVoxOffset();
  fields.setReal(at.slope, 0, 1);
  fields.setSpatialUnit(MILLIMETRES);
  fields.setAffine(affine, SCANNER_ANATOMICAL);
  return fields.bytes;
}

function sameAffine(a: Affine, b: Affine): boolean {
  return a.every((row, r) => row.every((value, c) => value === b[r]![c]));
}

class HeaderFields {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly little: boolean;
  readonly version: 1 | 2;
  readonly at: (typeof LAYOUTS)[1 | 2];

  constructor(version: 1 | 2, little: boolean, stored: Uint8Array | undefined) {
    this.version = version;
    this.little = little;
    this.at = LAYOUTS[version];
    this.bytes = new Uint8Array(this.at.headerBytes + 4);
    this.view = new DataView(this.bytes.buffer);
    if (stored !== undefined) {
      this.bytes.set(stored);
      return;
    }
    this.view.setInt32(0, this.at.headerBytes, little);
    const magic = version === 1 ? "n+1\0" : "n+2\0\r\n\x1a\n";
    this.bytes.set(new TextEncoder().encode(magic), version === 1 ? 344 : 4);
    if (version === 1) this.bytes[38] = 0x72; // "r" of ANALYZE's `regular`
  }

  setSide(index: number, value: number): void {
    if (this.version === 1) this.view.setInt16(this.at.dim + 2 * index, value, this.little);
    else this.view.setBigInt64(this.at.dim + 8 * index, BigInt(value), this.little);
  }

  setReal(from: number, index: number, value: number): void {
    if (this.version === 1) this.view.setFloat32(from + 4 * index, value, this.little);
    else this.view.setFloat64(from + 8 * index, value, this.little);
  }

  setCode(at: number, value: number): void {
    if (this.version === 1) this.view.setInt16(at, value, this.little);
    else this.view.setInt32(at, value, this.little);
  }

  /** Right behind the header and the four bytes. */
  setVoxOffset(): void {
    const { voxOffset } = this.at;
    if (this.version === 1) this.view.setFloat32(voxOffset, this.bytes.length, this.little);
    else this.view.setBigInt64(voxOffset, BigInt(this.bytes.length), this.little);
  }

  /** Printable ASCII, shortened so that a zero ends it. */
  setText(at: number, bytes: number, text: string): void {
    const ascii = text.replace(/[^ -~]/g, "?").slice(0, bytes - 1);
    this.bytes.fill(0, at, at + bytes);
    this.bytes.set(new TextEncoder().encode(ascii), at);
  }

  /** Keeps the unit of time. */
  setSpatialUnit(unit: number): void {
    const { units } = this.at;
    if (this.version === 1) this.bytes[units] = (this.bytes[units]! & ~7) | unit;
    else this.view.setInt32(units, (this.view.getInt32(units, this.little) & ~7) | unit, this.little);
  }

  /** The kind of space of the stored transforms. */
  spaceCode(): number {
    const code = (at: number) =>
      this.version === 1 ? this.view.getInt16(at, this.little) : this.view.getInt32(at, this.little);
    return code(this.at.sformCode) || code(this.at.qformCode) || SCANNER_ANATOMICAL;
  }

  setPixdim(handedness: 1 | -1, steps: readonly number[]): void {
    [handedness, ...steps].forEach((value, i) => {
      this.setReal(this.at.pixdim, i, value);
    });
  }

  /** As sform; also as qform if the axes are at right angles. */
  setAffine(affine: Affine, code: number): void {
    const { at } = this;
    const steps = columnLengths(affine);
    this.setCode(at.sformCode, code);
    for (let row = 0; row < 3; row++)
      for (let c = 0; c < 4; c++) this.setReal(at.srow, 4 * row + c, affine[row]![c]!);
    const axes = [0, 1, 2].map((c) => [0, 1, 2].map((row) => affine[row]![c]! / steps[c]!));
    const turned = toQuaternion(axes);
    this.setPixdim(turned?.handedness ?? 1, steps);
    this.setCode(at.qformCode, turned ? code : 0);
    const offset = [0, 1, 2].map((row) => affine[row]![3]!);
    [...(turned?.quaternion ?? [0, 0, 0]), ...(turned ? offset : [0, 0, 0])].forEach((value, i) => {
      this.setReal(at.quaternion, i, value);
    });
  }
}

/**
 * The rotation of three unit axes as NIfTI stores it: b, c and d of the unit quaternion with a ≥ 0, and whether the
 * third axis is flipped first. Undefined if the axes are not at right angles.
 */
function toQuaternion(
  axes: readonly (readonly number[])[],
): { quaternion: readonly [number, number, number]; handedness: 1 | -1 } | undefined {
  const [x, y, z] = axes as [readonly number[], readonly number[], readonly number[]];
  const dot = (p: readonly number[], q: readonly number[]) => p[0]! * q[0]! + p[1]! * q[1]! + p[2]! * q[2]!;
  if (Math.max(Math.abs(dot(x, y)), Math.abs(dot(x, z)), Math.abs(dot(y, z))) > RIGHT_ANGLE) return undefined;
  const determinant =
    x[0]! * (y[1]! * z[2]! - y[2]! * z[1]!) -
    x[1]! * (y[0]! * z[2]! - y[2]! * z[0]!) +
    x[2]! * (y[0]! * z[1]! - y[1]! * z[0]!);
  const handedness = determinant < 0 ? -1 : 1;
  const w = z.map((v) => v * handedness);
  // Four times the square of each part; divide by the largest (Shepperd 1978).
  const squares = [
    1 + x[0]! + y[1]! + w[2]!,
    1 + x[0]! - y[1]! - w[2]!,
    1 - x[0]! + y[1]! - w[2]!,
    1 - x[0]! - y[1]! + w[2]!,
  ];
  const largest = squares.indexOf(Math.max(...squares));
  const s = Math.sqrt(squares[largest]!) * 2;
  const [bc, bd, cd] = [y[0]! + x[1]!, w[0]! + x[2]!, w[1]! + y[2]!];
  const [ab, ac, ad] = [y[2]! - w[1]!, w[0]! - x[2]!, x[1]! - y[0]!];
  const parts = [
    [s / 4, ab / s, ac / s, ad / s],
    [ab / s, s / 4, bc / s, bd / s],
    [ac / s, bc / s, s / 4, cd / s],
    [ad / s, bd / s, cd / s, s / 4],
  ][largest]!;
  const sign = parts[0]! < 0 ? -1 : 1;
  return { quaternion: [parts[1]! * sign, parts[2]! * sign, parts[3]! * sign], handedness };
}
