/// <reference path="../../codec-modules.d.ts" />
import type { DicomElements } from "dcmjs";
import { ImageFormatError } from "../../errors.ts";

const PER_FRAME_GROUPS = "52009230";
const DEFLATED = "1.2.840.10008.1.2.1.99";

/** Loaded when it is first needed: most runs write no DICOM. */
export async function loadDcmjs() {
  const { default: dcmjs } = await import("dcmjs");
  // It would print values that it finds odd, and those may be a patient's.
  dcmjs.log.setLevel("silent");
  return dcmjs;
}

/**
 * The attributes of a stored head, by tag in eight hex digits; texts are decoded, whatever their character set.
 * @param head the file up to its pixel data, inflated where it was deflated
 */
export async function sourceAttributes(head: Uint8Array): Promise<DicomElements> {
  const dcmjs = await loadDcmjs();
  const bytes = head.slice();
  undeflate(bytes);
  try {
    return dcmjs.data.DicomMessage.readFile(bytes.buffer, { untilTag: PER_FRAME_GROUPS }).dict;
  } catch {
    // Without its reason, which may quote a value.
    throw new ImageFormatError(
      "the DICOM header of the source cannot be copied into labels.seg.dcm; choose another output",
    );
  }
}

/** Says of a head that was inflated that it is not deflated. */
function undeflate(bytes: Uint8Array): void {
  const text = String.fromCharCode(...bytes.subarray(0, 1024));
  const at = text.indexOf(DEFLATED);
  if (at > 0) bytes.fill(0, at + DEFLATED.length - 3, at + DEFLATED.length);
}
