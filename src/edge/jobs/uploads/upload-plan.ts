import { toHex } from "../../../storage/digest.ts";

/** Pure rules of an upload: how a file is cut, what it may be called, and where it lies. */

const MIB = 2 ** 20;
/** S3 and R2 take no smaller part but the last. */
const PART_UNIT_BYTES = 5 * MIB;
/** A request to a Worker has at most 100 MB on the smallest plan; a part that fails is sent again whole. */
const MAX_PART_BYTES = 60 * MIB;
/** S3 and R2 take no more. */
const MAX_PARTS = 10_000;
/** Parts grow rather than become more than these, until they are as large as they may be. */
const PARTS_AIMED_AT = 500;

/** What the bounds above allow, and more than any slide scanner writes. */
export const DEFAULT_MAX_BYTES = 200 * 2 ** 30;

/** Keys have 1024 bytes at most, file names 255 on the file systems that scans come from. */
const MAX_NAME_BYTES = 255;

export const UPLOAD_ID = /^[0-9a-f]{32}$/;

/** Bytes of every part but the last: a multiple of 5 MiB. */
export function partSize(byteLength: number): number {
  const units = Math.ceil(byteLength / (PARTS_AIMED_AT * PART_UNIT_BYTES));
  const partBytes = Math.min(MAX_PART_BYTES, Math.max(1, units) * PART_UNIT_BYTES);
  if (Math.ceil(byteLength / partBytes) > MAX_PARTS) {
    throw new RangeError(`${byteLength} bytes are more than ${MAX_PARTS} parts of ${partBytes} hold`);
  }
  return partBytes;
}

export interface Cut {
  byteLength: number;
  partBytes: number;
}

/** How many parts a file is cut into. */
export function partCount({ byteLength, partBytes }: Cut): number {
  return Math.ceil(byteLength / partBytes);
}

/** Bytes of part `n`, counted from 1; undefined where there is no such part. */
export function partLength(cut: Cut, n: number): number | undefined {
  if (!Number.isInteger(n) || n < 1 || n > partCount(cut)) return undefined;
  return Math.min(cut.partBytes, cut.byteLength - (n - 1) * cut.partBytes);
}

/** The name as it is stored: composed, without blanks around it. Undefined for what is not the name of a file. */
export function fileName(name: string): string | undefined {
  const plain = name.normalize("NFC").trim();
  // Control and format characters: a name must look like what it is.
  if (plain === "" || /[/\\\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(plain) || /^\.+$/.test(plain))
    return undefined;
  return new TextEncoder().encode(plain).length > MAX_NAME_BYTES ? undefined : plain;
}

/** All that is uploaded lies below it. */
export const FOLDER = "uploads";

/** Each upload has a folder of its own, so none can write over another. */
export function keyOf(id: string, name: string): string {
  return `${FOLDER}/${id}/${name}`;
}

/** The upload that made an object, by its key. */
export function uploadIdOf(key: string): string | undefined {
  const [folder, id, name, ...rest] = key.split("/");
  return folder === FOLDER && id && UPLOAD_ID.test(id) && name && rest.length === 0 ? id : undefined;
}

/** Metadata under which an object carries the job that was asked for with it. */
export const REQUEST_METADATA = "tilewright-request";

/** Objects carry 2 KiB of metadata in all; name and value count. */
export const MAX_REQUEST_BYTES = 2048 - REQUEST_METADATA.length - 64;

/** JSON in ASCII alone: it travels in a header where the storage is reached over HTTP. null: no job is to start. */
export function encodeRequest(request: object | null): string {
  return JSON.stringify(request).replace(
    /[^ -~]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** 128 bits that nobody guesses. */
export function newUploadId(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(16)));
}
