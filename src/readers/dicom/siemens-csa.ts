import type { DataSet } from "./data-set.ts";

/** Siemens's private image header (CSA). */
export interface SiemensCsa {
  /** Slices side by side in one picture. */
  imagesInMosaic: number | undefined;
  /** Direction from slice to slice of a mosaic, LPS. */
  sliceNormal: readonly number[] | undefined;
}

const CREATOR = "SIEMENS CSA HEADER";
/** Private blocks that may hold the header; another writer may have reserved the first ones. */
const BLOCKS = [
  ["privateCreator10", "privateImage10"],
  ["privateCreator11", "privateImage11"],
  ["privateCreator12", "privateImage12"],
] as const;

const MAX_TAGS = 1000;
const MAX_ITEMS = 1000;
const TAG_BYTES = 84;
const ITEM_BYTES = 16;
/** The values of each wanted name: numbers as text. */
const WANTED = ["NumberOfImagesInMosaic", "SliceNormalVector"];

/** @returns undefined for a file without such a header, or with a damaged one */
export function siemensCsa(dataSet: DataSet): SiemensCsa | undefined {
  for (const [creator, image] of BLOCKS) {
    if (dataSet.text(creator) !== CREATOR) continue;
    const found = readTags(dataSet.bytes(image));
    if (found === undefined) continue;
    const normal = found.get("SliceNormalVector");
    return {
      imagesInMosaic: found.get("NumberOfImagesInMosaic")?.[0],
      sliceNormal: normal?.length === 3 ? normal : undefined,
    };
  }
  return undefined;
}

/**
 * The layout is unpublished; this follows nibabel's csareader. A tag is a name of 64 bytes, counts and values; each
 * value has its own length and is padded to four bytes.
 */
function readTags(bytes: Uint8Array): Map<string, number[]> | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const second = ascii(bytes, 0, 4) === "SV10";
  let at = second ? 8 : 0;
  if (at + 8 > bytes.length) return undefined;
  const tags = view.getUint32(at, true);
  if (tags < 1 || tags > MAX_TAGS) return undefined;
  at += 8;
  const found = new Map<string, number[]>();
  // The first version adds the item count of its first tag to all lengths.
  let surplus = 0;
  for (let tag = 0; tag < tags && at + TAG_BYTES <= bytes.length; tag++) {
    const name = ascii(bytes, at, 64);
    const items = view.getInt32(at + 76, true);
    if (tag === 0) surplus = items;
    if (items < 0 || items > MAX_ITEMS) return undefined;
    at += TAG_BYTES;
    const values: number[] = [];
    for (let item = 0; item < items; item++) {
      if (at + ITEM_BYTES > bytes.length) return undefined;
      const length = second ? view.getInt32(at + 4, true) : view.getInt32(at, true) - surplus;
      at += ITEM_BYTES;
      if (length < 0 || at + length > bytes.length) {
        if (second) return undefined;
        break;
      }
      const text = WANTED.includes(name) ? ascii(bytes, at, length).trim() : "";
      if (text !== "") values.push(Number(text));
      at += Math.ceil(length / 4) * 4;
    }
    if (WANTED.includes(name)) found.set(name, values);
  }
  return found;
}

/** Text up to its first zero. */
function ascii(bytes: Uint8Array, from: number, length: number): string {
  const part = bytes.subarray(from, Math.min(from + length, from + 64));
  const end = part.indexOf(0);
  return String.fromCharCode(...(end < 0 ? part : part.subarray(0, end)));
}
