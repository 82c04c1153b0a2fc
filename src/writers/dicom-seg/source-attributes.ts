/// <reference path="../../codecs/codec-modules.d.ts" />
import type { DicomElement, DicomElements } from "dcmjs";
import { ImageFormatError } from "../../image/errors.ts";
import { textDecoder } from "./character-sets.ts";

const PER_FRAME_GROUPS = "52009230";
const DEFLATED = "1.2.840.10008.1.2.1.99";
/** Value representations in the character set of the file (PS3.5 section 6.1.2.3). */
const TEXTS: ReadonlySet<string> = new Set(["LO", "LT", "PN", "SH", "ST", "UC", "UT"]);

/** Loaded on first use: most runs write no DICOM. */
export async function loadDcmjs() {
  const { default: dcmjs } = await import("dcmjs");
  // dcmjs would print unusual values, which may be a patient's.
  dcmjs.log.setLevel("silent");
  dcmjs.log.getLogger("validation.dcmjs").setLevel("silent");
  return dcmjs;
}

/**
 * Parses the attributes of a stored head, by tag in eight hex digits; texts are decoded from the file's character
 * set.
 * @param head the file up to its pixel data, inflated if it was deflated
 */
export async function sourceAttributes(head: Uint8Array): Promise<DicomElements> {
  const dcmjs = await loadDcmjs();
  const bytes = head.slice();
  try {
    undeflate(bytes);
    const terms = takeCharacterSet(bytes);
    const { dict } = dcmjs.data.DicomMessage.readFile(bytes.buffer, { untilTag: PER_FRAME_GROUPS });
    return decodeElements(dict, textDecoder(terms));
  } catch {
    // Without the cause, which may quote a value.
    throw new ImageFormatError(
      "the DICOM header of the source cannot be copied into labels.seg.dcm; choose another output",
    );
  }
}

/** Marks an inflated head as not deflated. */
function undeflate(bytes: Uint8Array): void {
  const at = decodeAscii(bytes, 1024).indexOf(DEFLATED);
  if (at > 0) bytes.fill(0, at + DEFLATED.length - 3, at + DEFLATED.length);
}

/**
 * Reads the character set and blanks it, which means Latin-1. dcmjs knows only some sets, one at a time, and not
 * inside sequences; as Latin-1 every byte survives. The element is among the first of a data set.
 */
function takeCharacterSet(bytes: Uint8Array): string[] {
  const text = decodeAscii(bytes, 4096);
  const view = new DataView(bytes.buffer);
  for (const [tag, explicit, little] of [
    ["\x08\x00\x05\x00CS", true, true],
    ["\x00\x08\x00\x05CS", true, false],
    ["\x08\x00\x05\x00", false, true],
  ] as const) {
    const found = text.indexOf(tag);
    if (found < 0) continue;
    const length = explicit ? view.getUint16(found + 6, little) : view.getUint32(found + 4, true);
    const from = found + 8;
    const terms = text.slice(from, from + length);
    bytes.fill(0x20, from, from + length);
    return terms.split("\\").map((term) => term.trim());
  }
  return [];
}

function decodeAscii(bytes: Uint8Array, length: number): string {
  return String.fromCharCode(...bytes.subarray(0, length));
}

function decodeElements(elements: DicomElements, decode: (text: string) => string): DicomElements {
  return Object.fromEntries(
    Object.entries(elements).map(([tag, { vr, Value }]): [string, DicomElement] => {
      if (vr === "SQ")
        return [
          tag,
          { vr, Value: Value?.map((item) => decodeElements(item as DicomElements, decode)) ?? [] },
        ];
      return [tag, { vr, Value: TEXTS.has(vr) ? Value?.map((value) => decodeTexts(value, decode)) : Value }];
    }),
  );
}

/** A text, or a person name with up to three spellings. */
function decodeTexts(value: unknown, decode: (text: string) => string): unknown {
  if (typeof value === "string") return decode(value);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, decodeTexts(part, decode)]));
}
