import type { Encoding } from "./data-set.ts";
import { UnsupportedDicomError } from "./errors.ts";

export type PixelCoding =
  | "unread"
  | "native"
  | "rle"
  | "jpeg"
  | "jpeg-lossless"
  | "jpeg-ls"
  | "jpeg2000"
  | "htj2k";

export interface TransferSyntax {
  /** Name for people, as `inspect` prints it. */
  name: string;
  explicit: boolean;
  littleEndian: boolean;
  deflated: boolean;
  coding: PixelCoding;
  /** Why its frames are not read. */
  refusal?: string;
}

const plain = { explicit: true, littleEndian: true, deflated: false };
const coded = (name: string, coding: PixelCoding): TransferSyntax => ({ ...plain, name, coding });

const SYNTAXES: Readonly<Record<string, TransferSyntax>> = {
  "1.2.840.10008.1.2": { ...plain, explicit: false, name: "implicit little-endian", coding: "native" },
  "1.2.840.10008.1.2.1": { ...plain, name: "explicit little-endian", coding: "native" },
  "1.2.840.10008.1.2.1.99": { ...plain, deflated: true, name: "deflated", coding: "native" },
  "1.2.840.10008.1.2.2": { ...plain, littleEndian: false, name: "explicit big-endian", coding: "native" },
  "1.2.840.10008.1.2.5": coded("RLE", "rle"),
  "1.2.840.10008.1.2.4.50": coded("JPEG", "jpeg"),
  "1.2.840.10008.1.2.4.51": coded("JPEG extended", "jpeg"),
  // Retired: progressive, which the same decoder reads.
  "1.2.840.10008.1.2.4.53": coded("JPEG progressive", "jpeg"),
  "1.2.840.10008.1.2.4.55": coded("JPEG progressive", "jpeg"),
  "1.2.840.10008.1.2.4.57": coded("JPEG lossless", "jpeg-lossless"),
  "1.2.840.10008.1.2.4.70": coded("JPEG lossless", "jpeg-lossless"),
  "1.2.840.10008.1.2.4.80": coded("JPEG-LS lossless", "jpeg-ls"),
  "1.2.840.10008.1.2.4.81": coded("JPEG-LS near-lossless", "jpeg-ls"),
  "1.2.840.10008.1.2.4.90": coded("JPEG 2000 lossless", "jpeg2000"),
  "1.2.840.10008.1.2.4.91": coded("JPEG 2000", "jpeg2000"),
  "1.2.840.10008.1.2.4.201": coded("high-throughput JPEG 2000 lossless", "htj2k"),
  "1.2.840.10008.1.2.4.202": coded("high-throughput JPEG 2000 lossless", "htj2k"),
  "1.2.840.10008.1.2.4.203": coded("high-throughput JPEG 2000", "htj2k"),
};

/** Known syntaxes that are not read (PS3.6 annex A), for the message. */
const UNREAD: Readonly<Record<string, string>> = {
  "1.2.840.10008.1.2.1.98": "encapsulated uncompressed samples",
  "1.2.840.10008.1.2.4.52": "arithmetic-coded JPEG",
  "1.2.840.10008.1.2.4.54": "arithmetic-coded JPEG",
  "1.2.840.10008.1.2.4.56": "arithmetic-coded JPEG",
  "1.2.840.10008.1.2.4.58": "arithmetic-coded lossless JPEG",
  "1.2.840.10008.1.2.4.92": "multi-component JPEG 2000",
  "1.2.840.10008.1.2.4.93": "multi-component JPEG 2000",
  "1.2.840.10008.1.2.4.94": "a reference to a JPIP server",
  "1.2.840.10008.1.2.4.95": "a reference to a JPIP server",
  "1.2.840.10008.1.2.4.204": "a reference to a JPIP server",
  "1.2.840.10008.1.2.4.205": "a reference to a JPIP server",
  "1.2.840.10008.1.2.6.2": "XML",
  "1.2.840.10008.1.2.8.1": "deflated frames",
  "1.2.840.10008.1.20": "Papyrus",
  "1.2.840.113619.5.2": "GE's private big-endian",
};

/** Syntaxes with many numbers, by their prefix; a range goes up to the last number. */
const UNREAD_FAMILIES: readonly [prefix: string, from: number, to: number, name: string][] = [
  ["1.2.840.10008.1.2.4.", 59, 66, "hierarchical JPEG"],
  ["1.2.840.10008.1.2.4.", 100, 101, "MPEG-2 video"],
  ["1.2.840.10008.1.2.4.", 102, 106, "MPEG-4 video"],
  ["1.2.840.10008.1.2.4.", 107, 108, "HEVC video"],
  ["1.2.840.10008.1.2.4.", 110, 112, "JPEG XL"],
  ["1.2.840.10008.1.2.7.", 1, 3, "SMPTE ST 2110 video"],
];

/** Syntax of a data set that does not state one and is not coded. */
export function impliedSyntax({ explicit, littleEndian }: Encoding): TransferSyntax {
  const name = `${explicit ? "explicit" : "implicit"} ${littleEndian ? "little" : "big"}-endian (not stated)`;
  return { ...plain, explicit, littleEndian, name, coding: "native" };
}

/**
 * Looks a syntax up by its UID. An unknown one counts as explicit little-endian, like all that code frames: its
 * header then still tells its series.
 * @throws {UnsupportedDicomError} when none is stated
 */
export function parseTransferSyntax(uid: string | undefined): TransferSyntax {
  if (uid === undefined)
    throw new UnsupportedDicomError("its header does not state how it is encoded (transfer syntax)");
  const syntax = Object.hasOwn(SYNTAXES, uid) ? SYNTAXES[uid] : undefined;
  if (syntax) return syntax;
  const name =
    unsupportedName(uid) ??
    (/^[0-9.]{1,64}$/.test(uid) ? `the transfer syntax ${uid}` : "an unknown encoding");
  const advice = name.endsWith("video") ? "export its frames" : "convert it to explicit little-endian";
  const unsupportedReason = `it is stored as ${name}, which is not supported; ${advice}`;
  return { ...plain, name, coding: "unread", refusal: unsupportedReason };
}

function unsupportedName(uid: string): string | undefined {
  if (Object.hasOwn(UNREAD, uid)) return UNREAD[uid];
  return UNREAD_FAMILIES.find(([prefix, from, to]) => {
    const number = uid.startsWith(prefix) ? Number(uid.slice(prefix.length)) : Number.NaN;
    return number >= from && number <= to;
  })?.[3];
}
