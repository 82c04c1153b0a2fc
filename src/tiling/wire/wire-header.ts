import type { Precision } from "./mask-record.ts";
import { WireFormatError } from "./wire-message.ts";

/** Parsers of the fields of an untrusted header. Each throws a `WireFormatError` that names the field. */

/** Maximum number of axes: windows, channels or classes, and two or three spatial axes. */
const MAX_AXES = 5;
/** Maximum length of an axis, so that products of a shape stay exact integers. */
const MAX_LENGTH = 1 << 20;
/** Maximum length of the name of a variant. */
const MAX_NAME = 200;

export type Fields = Record<string, unknown>;

export function parseFields(header: unknown): Fields {
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    throw new WireFormatError("the header is not a JSON object");
  }
  return header as Fields;
}

/** 64 lower-case hex digits: the hash of a model package. */
export function parseModelHash(fields: Fields): string {
  const { model } = fields;
  if (typeof model !== "string" || !/^[0-9a-f]{64}$/.test(model)) {
    throw new WireFormatError('header field "model" must be 64 hex digits');
  }
  return model;
}

export function parseVariantName(fields: Fields): string {
  const { variant } = fields;
  if (typeof variant !== "string" || variant === "" || variant.length > MAX_NAME) {
    throw new WireFormatError(`header field "variant" must be a name of up to ${MAX_NAME} characters`);
  }
  return variant;
}

export function parsePrecision(fields: Fields): Precision {
  const { precision } = fields;
  if (precision !== "u8" && precision !== "f16" && precision !== "f32") {
    throw new WireFormatError('header field "precision" must be "u8", "f16" or "f32"');
  }
  return precision;
}

/** `[N, …]`: four or five non-empty axes. */
export function parseShape(fields: Fields): readonly number[] {
  const { shape } = fields;
  if (
    !Array.isArray(shape) ||
    shape.length < 4 ||
    shape.length > MAX_AXES ||
    !shape.every((n) => Number.isInteger(n) && n > 0 && n <= MAX_LENGTH)
  ) {
    throw new WireFormatError(`header field "shape" must be 4 or 5 lengths from 1 to ${MAX_LENGTH}`);
  }
  // Far above the size of any message, and within exact integers.
  if (shape.reduce((product, n) => product * n, 1) > Number.MAX_SAFE_INTEGER) {
    throw new WireFormatError('header field "shape" has too many samples');
  }
  return shape;
}

/** `count` different numbers of windows in their grid. */
export function parseWindowNumbers(fields: Fields, count: number): readonly number[] {
  const { windows } = fields;
  if (
    !Array.isArray(windows) ||
    windows.length !== count ||
    !windows.every((n) => Number.isSafeInteger(n) && n >= 0) ||
    new Set(windows).size !== count
  ) {
    throw new WireFormatError(`header field "windows" must be ${count} different window numbers`);
  }
  return windows;
}

export function parseFinite(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new WireFormatError(`header field "${name}" must be a number`);
  }
  return value;
}
