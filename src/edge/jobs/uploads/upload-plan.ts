import { toHex } from "../../../storage/digest.ts";

/** Pure rules of an upload: its parts, its name, and its key. */

const MIB = 2 ** 20;
/** Minimum part size of S3 and R2; only the last part may be smaller. */
const PART_UNIT_BYTES = 5 * MIB;
/** Workers accept at most 100 MB per request on the smallest plan, and a failed part is sent again whole. */
const MAX_PART_BYTES = 60 * MIB;
/** Limit of S3 and R2. */
const MAX_PARTS = 10_000;
/** Parts grow to keep their number below this, up to the maximum part size. */
const TARGET_PARTS = 500;

/** Within the bounds above, and more than any slide scanner writes. */
export const DEFAULT_MAX_BYTES = 200 * 2 ** 30;

/** Keys have 1024 bytes at most, file names 255 on the file systems that scans come from. */
const MAX_NAME_BYTES = 255;

export const UPLOAD_ID = /^[0-9a-f]{32}$/;

/** Bytes of every part but the last: a multiple of 5 MiB. */
export function partSize(byteLength: number): number {
  const units = Math.ceil(byteLength / (TARGET_PARTS * PART_UNIT_BYTES));
  const partBytes = Math.min(MAX_PART_BYTES, Math.max(1, units) * PART_UNIT_BYTES);
  if (Math.ceil(byteLength / partBytes) > MAX_PARTS) {
    throw new RangeError(`${byteLength} bytes are more than ${MAX_PARTS} parts of ${partBytes} hold`);
  }
  return partBytes;
}

/** How a file is divided into parts. */
export interface PartLayout {
  byteLength: number;
  partBytes: number;
}

/** Number of parts of a file. */
export function partCount({ byteLength, partBytes }: PartLayout): number {
  return Math.ceil(byteLength / partBytes);
}

/** Bytes of part `n`, counted from 1; undefined where there is no such part. */
export function partLength(layout: PartLayout, n: number): number | undefined {
  if (!Number.isInteger(n) || n < 1 || n > partCount(layout)) return undefined;
  return Math.min(layout.partBytes, layout.byteLength - (n - 1) * layout.partBytes);
}

/** The name as stored: in Unicode NFC, trimmed. Undefined where it is not a valid file name. */
export function fileName(name: string): string | undefined {
  const plain = name.normalize("NFC").trim();
  // Control and format characters: a name must look like what it is.
  if (plain === "" || /[/\\\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(plain) || /^\.+$/.test(plain))
    return undefined;
  return new TextEncoder().encode(plain).length > MAX_NAME_BYTES ? undefined : plain;
}

/** Prefix of the keys of all uploads. */
export const FOLDER = "uploads";

/** Each upload has its own folder, so uploads cannot overwrite each other. */
export function uploadKey(id: string, name: string): string {
  return `${FOLDER}/${id}/${name}`;
}

/** The id of the upload that created an object, from its key. */
export function parseUploadId(key: string): string | undefined {
  const [folder, id, name, ...rest] = key.split("/");
  return folder === FOLDER && id && UPLOAD_ID.test(id) && name && rest.length === 0 ? id : undefined;
}

/** Name of the object metadata that holds the job request of an upload. */
export const REQUEST_METADATA = "tilewright-request";

/** Objects have at most 2 KiB of metadata, names and values together. */
export const MAX_REQUEST_BYTES = 2048 - REQUEST_METADATA.length - 64;

/** JSON in ASCII, because S3 sends metadata in HTTP headers. null: start no job. */
export function encodeRequest(request: object | null): string {
  return JSON.stringify(request).replace(
    /[^ -~]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** 128 random bits. */
export function newUploadId(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(16)));
}
