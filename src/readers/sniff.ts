import { isDicom } from "./dicom/open-instance.ts";
import { NIFTI_HEADER_BYTES, niftiKind } from "./nifti/header.ts";

/** The kind of a file, from its first bytes. */
export type FileKind =
  | { kind: "tiff" | "png" | "jpeg" | "nifti" | "gzip" | "dicom" | "zip" }
  /** Known but not supported: `name` is for the message. */
  | { kind: "unsupported"; name: string; advice: string }
  | { kind: "unknown" };

/** Bytes needed to recognise any kind. */
export const SNIFF_BYTES = NIFTI_HEADER_BYTES;

const CONVERT = "convert it to OME-TIFF, for instance with bioformats2raw and raw2ometiff";

const UNSUPPORTED: { name: string; advice: string; offset: number; magic: readonly number[] | string }[] = [
  { name: "Zeiss CZI", offset: 0, magic: "ZISRAWFILE", advice: CONVERT },
  { name: "HDF5 (Imaris, napari)", offset: 0, magic: [0x89, 0x48, 0x44, 0x46], advice: CONVERT },
  { name: "JPEG 2000", offset: 4, magic: "jP  ", advice: CONVERT },
  { name: "JPEG 2000", offset: 0, magic: [0xff, 0x4f, 0xff, 0x51], advice: CONVERT },
  { name: "Nikon ND2", offset: 0, magic: [0xda, 0xce, 0xbe, 0x0a], advice: CONVERT },
  { name: "Leica LIF", offset: 0, magic: [0x70, 0, 0, 0], advice: CONVERT },
  { name: "MIRAX or VMS slide index", offset: 0, magic: "[GENERAL]", advice: CONVERT },
  { name: "Hamamatsu VMS slide index", offset: 0, magic: "[Virtual Microscope", advice: CONVERT },
  { name: "Olympus VSI/ETS", offset: 0, magic: "SIS\0", advice: CONVERT },
  { name: "PDF", offset: 0, magic: "%PDF", advice: "give the image itself" },
  { name: "GIF", offset: 0, magic: "GIF8", advice: "convert it to PNG" },
  { name: "WebP or other RIFF", offset: 0, magic: "RIFF", advice: "convert it to PNG" },
  { name: "BMP", offset: 0, magic: "BM", advice: "convert it to PNG" },
  { name: "7-Zip archive", offset: 0, magic: [0x37, 0x7a, 0xbc, 0xaf], advice: "unpack it first" },
  { name: "web page", offset: 0, magic: "<!DOCTYPE", advice: "check the address: it answers with a page" },
  { name: "web page", offset: 0, magic: "<html", advice: "check the address: it answers with a page" },
];

/** By content, never by name: slides are renamed, and extensions are often wrong. */
export function sniff(head: Uint8Array): FileKind {
  // DICOM first: its preamble may be that of a TIFF, so that either kind of reader finds the image.
  if (isDicom(head)) return { kind: "dicom" };
  if (starts(head, 0, [0x49, 0x49, 0x2a, 0]) || starts(head, 0, [0x4d, 0x4d, 0, 0x2a]))
    return { kind: "tiff" };
  if (starts(head, 0, [0x49, 0x49, 0x2b, 0]) || starts(head, 0, [0x4d, 0x4d, 0, 0x2b]))
    return { kind: "tiff" };
  if (starts(head, 0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])) return { kind: "png" };
  if (starts(head, 0, [0xff, 0xd8, 0xff])) return { kind: "jpeg" };
  if (starts(head, 0, [0x50, 0x4b, 3, 4])) return { kind: "zip" };
  if (starts(head, 0, [0x1f, 0x8b])) return { kind: "gzip" };
  if (niftiKind(head) !== undefined) return { kind: "nifti" };
  const known = UNSUPPORTED.find(({ offset, magic }) =>
    starts(head, offset, typeof magic === "string" ? [...magic].map((c) => c.charCodeAt(0)) : magic),
  );
  return known ? { kind: "unsupported", name: known.name, advice: known.advice } : { kind: "unknown" };
}

function starts(bytes: Uint8Array, offset: number, magic: readonly number[]): boolean {
  return bytes.length >= offset + magic.length && magic.every((value, i) => bytes[offset + i] === value);
}
