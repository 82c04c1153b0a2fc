import type { Field } from "./mutate-bytes.ts";
import { readField } from "./mutate-bytes.ts";

const MOST_FIELDS = 4000;

/** The numeric fields of a TIFF's directories, as far as they can be followed. */
export function tiffFields(bytes: Uint8Array): Field[] {
  const little = bytes[0] === 0x49;
  const big = bytes[little ? 2 : 3] === 43;
  const word = big ? 8 : 4;
  const fields: Field[] = [];
  const field = (name: string, at: number, size: Field["size"]): number => {
    const made = { name, at, size, little };
    fields.push(made);
    return Number(readField(bytes, made));
  };
  const pointers = [field("first directory", big ? 8 : 4, word)];
  const seen = new Set<number>();
  while (pointers.length > 0 && fields.length < MOST_FIELDS) {
    const at = pointers.pop()!;
    if (at < 8 || at + 8 > bytes.length || seen.has(at)) continue;
    seen.add(at);
    const count = Math.min(200, field("entries", at, big ? 8 : 2));
    const first = at + (big ? 8 : 2);
    for (let i = 0; i < count; i++) {
      const entry = first + i * (big ? 20 : 12);
      if (entry + 12 > bytes.length) break;
      const tag = field("tag", entry, 2);
      const type = field(`type of tag ${tag}`, entry + 2, 2);
      const values = field(`count of tag ${tag}`, entry + 4, word);
      const value = field(`value of tag ${tag}`, entry + 4 + word, type === 3 ? 2 : word);
      if (tag === 330 && values === 1) pointers.push(value);
      const size = type === 3 ? 2 : type === 4 || type === 5 ? 4 : type === 16 ? 8 : undefined;
      if (size && values * size > word)
        for (const one of [0, 1, Math.floor(values / 2), values - 1])
          if (value + (one + 1) * size <= bytes.length)
            field(`value ${one} of tag ${tag}`, value + one * size, size);
    }
    pointers.push(field("next directory", first + count * (big ? 20 : 12), word));
  }
  return fields;
}

/** Position of a tag's text: its entry, and its bytes if they are outside of it. */
export function tiffTexts(bytes: Uint8Array): { from: number; to: number }[] {
  const fields = tiffFields(bytes);
  const texts: { from: number; to: number }[] = [];
  for (const [i, { name }] of fields.entries()) {
    if (name !== "count of tag 270") continue;
    const count = Number(readField(bytes, fields[i]!));
    const from = Number(readField(bytes, fields[i + 1]!));
    if (count > 8 && from + count <= bytes.length) texts.push({ from, to: from + count });
  }
  return texts;
}

const NIFTI1: [string, number, Field["size"]][] = [
  ["sizeof_hdr", 0, 4],
  ...Array.from({ length: 8 }, (_, i): [string, number, 2] => [`dim ${i}`, 40 + 2 * i, 2]),
  ["datatype", 70, 2],
  ["bitpix", 72, 2],
  ...Array.from({ length: 8 }, (_, i): [string, number, 4] => [`pixdim ${i}`, 76 + 4 * i, 4]),
  ["vox_offset", 108, 4],
  ["scl_slope", 112, 4],
  ["scl_inter", 116, 4],
  ["xyzt_units", 123, 1],
  ["qform_code", 252, 2],
  ["sform_code", 254, 2],
  ...Array.from({ length: 18 }, (_, i): [string, number, 4] => [`form ${i}`, 256 + 4 * i, 4]),
  ["magic", 344, 4],
  ["extension", 348, 4],
  ["extension size", 352, 4],
];
const NIFTI2: [string, number, Field["size"]][] = [
  ["sizeof_hdr", 0, 4],
  ["magic", 4, 8],
  ["datatype", 12, 2],
  ["bitpix", 14, 2],
  ...Array.from({ length: 8 }, (_, i): [string, number, 8] => [`dim ${i}`, 16 + 8 * i, 8]),
  ...Array.from({ length: 8 }, (_, i): [string, number, 8] => [`pixdim ${i}`, 104 + 8 * i, 8]),
  ["vox_offset", 168, 8],
  ["scl_slope", 176, 8],
  ["scl_inter", 184, 8],
  ["qform_code", 344, 4],
  ["sform_code", 348, 4],
  ...Array.from({ length: 18 }, (_, i): [string, number, 8] => [`form ${i}`, 352 + 8 * i, 8]),
  ["xyzt_units", 500, 4],
  ["extension", 540, 4],
];

export function niftiFields(bytes: Uint8Array): Field[] {
  const little = bytes[0] !== 0;
  const table = bytes[little ? 0 : 3] === (540 & 255) && bytes[little ? 1 : 2] === 2 ? NIFTI2 : NIFTI1;
  return table.map(([name, at, size]) => ({ name, at, size, little }));
}

/** Lengths of a PNG's chunks, and the numbers of its header. */
export function pngFields(bytes: Uint8Array): Field[] {
  const fields: Field[] = [
    ["width", 16, 4],
    ["height", 20, 4],
    ["depth", 24, 1],
    ["colour type", 25, 1],
    ["interlace", 28, 1],
  ].map(([name, at, size]) => ({ name, at, size, little: false }) as Field);
  for (let at = 8; at + 8 <= bytes.length && fields.length < MOST_FIELDS; ) {
    const length: Field = { name: "length of a chunk", at, size: 4, little: false };
    fields.push(length, { name: "type of a chunk", at: at + 4, size: 4, little: false });
    at += 12 + Number(readField(bytes, length));
  }
  return fields;
}

/** Lengths and bytes of a JPEG's segments up to its first scan. */
export function jpegFields(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1]!;
    const length: Field = {
      name: `length of segment ${marker.toString(16)}`,
      at: at + 2,
      size: 2,
      little: false,
    };
    fields.push(length, { name: `marker ${marker.toString(16)}`, at: at + 1, size: 1, little: false });
    const end = at + 2 + Number(readField(bytes, length));
    if (marker >= 0xc0) {
      for (let i = at + 4; i < Math.min(end, at + 24, bytes.length); i++)
        fields.push({
          name: `byte ${i - at - 4} of segment ${marker.toString(16)}`,
          at: i,
          size: 1,
          little: false,
        });
    }
    if (marker >= 0xc0 && marker <= 0xcf) {
      fields.push({ name: "height", at: at + 5, size: 2, little: false });
      fields.push({ name: "width", at: at + 7, size: 2, little: false });
    }
    if (marker === 0xda) break;
    at = end;
  }
  return fields;
}

const ZIP_FIELDS: Record<number, [string, number, Field["size"]][]> = {
  // Local headers, directory entries, and the end of the directory.
  3: ["flags", "method", "crc", "packed", "size", "name length", "extra length"].map((name, i) => [
    `local ${name}`,
    [6, 8, 14, 18, 22, 26, 28][i]!,
    i < 2 || i > 4 ? 2 : 4,
  ]),
  1: ["flags", "method", "crc", "packed", "size", "name length", "extra length", "comment", "offset"].map(
    (name, i) => [name, [8, 10, 16, 20, 24, 28, 30, 32, 42][i]!, [2, 3, 4, 8].includes(i) ? 4 : 2],
  ),
  5: ["entries here", "entries", "directory size", "directory offset", "comment length"].map((name, i) => [
    name,
    [8, 10, 12, 16, 20][i]!,
    i === 2 || i === 3 ? 4 : 2,
  ]),
};

export function zipFields(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  for (let at = 0; at + 4 < bytes.length && fields.length < MOST_FIELDS; at++) {
    if (bytes[at] !== 0x50 || bytes[at + 1] !== 0x4b) continue;
    for (const [name, offset, size] of ZIP_FIELDS[bytes[at + 2]!] ?? [])
      fields.push({ name, at: at + offset, size, little: true });
  }
  return fields;
}

/** The size that a gzip file states at its end, and its flags. */
export function gzipFields(bytes: Uint8Array): Field[] {
  return [
    { name: "method", at: 2, size: 1, little: true },
    { name: "flags", at: 3, size: 1, little: true },
    { name: "first block", at: 10, size: 1, little: true },
    { name: "check sum", at: bytes.length - 8, size: 4, little: true },
    { name: "size", at: bytes.length - 4, size: 4, little: true },
  ];
}
