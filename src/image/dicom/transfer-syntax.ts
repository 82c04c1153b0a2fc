import { DicomRefusal } from "./refusal.ts";

export type PixelCoding = "native" | "rle" | "jpeg" | "jpeg-lossless" | "jpeg-ls" | "jpeg2000";

export interface TransferSyntax {
  /** For a person, as `inspect` prints it. */
  name: string;
  explicit: boolean;
  littleEndian: boolean;
  deflated: boolean;
  coding: PixelCoding;
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
  "1.2.840.10008.1.2.4.57": coded("JPEG lossless", "jpeg-lossless"),
  "1.2.840.10008.1.2.4.70": coded("JPEG lossless", "jpeg-lossless"),
  "1.2.840.10008.1.2.4.80": coded("JPEG-LS lossless", "jpeg-ls"),
  "1.2.840.10008.1.2.4.81": coded("JPEG-LS near-lossless", "jpeg-ls"),
  "1.2.840.10008.1.2.4.90": coded("JPEG 2000 lossless", "jpeg2000"),
  "1.2.840.10008.1.2.4.91": coded("JPEG 2000", "jpeg2000"),
};

/** What is known and not read: for the sentence. */
const UNREAD: Readonly<Record<string, string>> = {
  "1.2.840.10008.1.2.4.92": "multi-component JPEG 2000",
  "1.2.840.10008.1.2.4.93": "multi-component JPEG 2000",
  "1.2.840.10008.1.2.4.100": "MPEG-2 video",
  "1.2.840.10008.1.2.4.101": "MPEG-2 video",
  "1.2.840.10008.1.2.4.102": "MPEG-4 video",
  "1.2.840.10008.1.2.4.103": "MPEG-4 video",
  "1.2.840.10008.1.2.4.110": "JPEG XL",
  "1.2.840.10008.1.2.4.111": "JPEG XL",
  "1.2.840.10008.1.2.4.112": "JPEG XL",
  "1.2.840.10008.1.2.4.201": "high-throughput JPEG 2000",
  "1.2.840.10008.1.2.4.202": "high-throughput JPEG 2000",
  "1.2.840.10008.1.2.4.203": "high-throughput JPEG 2000",
};

/**
 * By its UID.
 * @throws {DicomRefusal} when it is not read
 */
export function transferSyntaxOf(uid: string | undefined): TransferSyntax {
  if (uid === undefined)
    throw new DicomRefusal("its header does not tell how it is encoded (transfer syntax)");
  const syntax = SYNTAXES[uid];
  if (syntax) return syntax;
  const name =
    UNREAD[uid] ?? (/^[0-9.]{1,64}$/.test(uid) ? `the transfer syntax ${uid}` : "an unknown encoding");
  throw new DicomRefusal(
    `it is stored as ${name}, which is not supported; convert it to explicit little-endian`,
  );
}
