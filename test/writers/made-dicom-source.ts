/// <reference path="../../src/codecs/codec-modules.d.ts" />
import dcmjs, { type DicomElements } from "dcmjs";
import type { Affine } from "../../src/image/affine.ts";
import type { FrameReference, StoredHeaders } from "../../src/image/image-source.ts";

const CT = "1.2.840.10008.5.1.4.1.1.2";
const SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6";
export const PATIENT = "Müller^Änne";

const one = (vr: string, ...Value: unknown[]) => ({ vr, Value });

function headOf(sopClass: string, elements: DicomElements): Uint8Array {
  const file = new dcmjs.data.DicomDict({
    "00020001": one("OB", Uint8Array.of(0, 1).buffer),
    "00020002": one("UI", sopClass),
    "00020003": one("UI", "1.2.3.4"),
    "00020010": one("UI", "1.2.840.10008.1.2.1"),
    "00020012": one("UI", "1.2.3"),
  });
  file.dict = {
    "00080005": one("CS", "ISO_IR 192"),
    "00080016": one("UI", sopClass),
    "00080020": one("DA", "20240229"),
    "00080030": one("TM", "101112"),
    "00080050": one("SH", "A-1"),
    "00080090": one("PN", "Doe^Jane"),
    "00100010": one("PN", { Alphabetic: PATIENT }),
    "00100020": one("LO", "P-77"),
    "00100030": one("DA", "19700101"),
    "00100040": one("CS", "F"),
    "0020000D": one("UI", "1.2.3.100"),
    "0020000E": one("UI", "1.2.3.101"),
    "00200010": one("SH", "S1"),
    "00200011": one("IS", "4"),
    "00200052": one("UI", "1.2.3.102"),
    ...elements,
  };
  return new Uint8Array(file.write());
}

/** A CT series of `count` slices, or one file of as many frames. */
export function madeSeries(
  count: number,
  affine: Affine,
  options: { multiFrame?: boolean; nameless?: boolean } = {},
): { affine: Affine; headers: StoredHeaders } {
  const { multiFrame, nameless } = options;
  const head = headOf(CT, { "00080060": one("CS", "CT") });
  const references = Array.from(
    { length: count },
    (_, frame): FrameReference =>
      multiFrame
        ? { sopClass: CT, sopInstance: "1.2.3.200", frame }
        : { sopClass: nameless ? "" : CT, sopInstance: nameless ? "" : `1.2.3.300.${frame}` },
  );
  return { affine, headers: { format: "dicom", count, read: async () => head, references } };
}

/** A slide of one level; `origin` and spacing in millimetres. */
export function madeSlide(origin: readonly [x: number, y: number]): { headers: StoredHeaders } {
  const head = headOf(SLIDE, {
    "00080060": one("CS", "SM"),
    "00400512": one("LO", "GLASS-1"),
    "00400513": { vr: "SQ", Value: [] },
    "00400518": one("SQ", {
      "00080100": one("SH", "433466003"),
      "00080102": one("SH", "SCT"),
      "00080104": one("LO", "Microscope slide"),
    }),
    "00400560": one("SQ", {
      "00400551": one("LO", "SPECIMEN-1"),
      "00400554": one("UI", "1.2.3.103"),
      "00400562": { vr: "SQ", Value: [] },
      "00400610": { vr: "SQ", Value: [] },
    }),
    "00201040": one("LO", "SLIDE_CORNER"),
    "00282110": one("CS", "01"),
    "00282112": one("DS", "12.5"),
    "00282114": one("CS", "ISO_10918_1"),
    "00480008": one("SQ", { "0040072A": one("DS", origin[0]), "0040073A": one("DS", origin[1]) }),
    "00480102": { vr: "DS", Value: [0, -1, 0, -1, 0, 0] },
  });
  const references = [{ sopClass: SLIDE, sopInstance: "1.2.3.400" }];
  return { headers: { format: "dicom", count: 1, read: async () => head, references } };
}
