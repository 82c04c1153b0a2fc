/// <reference path="../../codecs/codec-modules.d.ts" />
import type { DicomElement, DicomElements } from "dcmjs";
import type { FrameReference } from "../../image/image-source.ts";
import type { LabelMapInfo } from "../../image/label-sink.ts";
import type { Segmentation, SegmentationType } from "../../image/output-targets.ts";
import { segmentationFrameSize } from "../../tiling/grid/segmentation-frame.ts";
import { decimalString } from "./elements.ts";
import { type FrameGeometry, readNumberValues, readTextValue } from "./geometry.ts";
import { loadDcmjs } from "./source-attributes.ts";
import { createUidFactory } from "./uids.ts";

const EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1";
/** Identifies this writer: the UUID (version 5) of the DNS name `tilewright`. */
const IMPLEMENTATION = "2.25.55903923150351733481544651423195717979";
const SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4";
const LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7";
/** Date for a source without one: a date is required, and the current one would change the bytes of each run. */
const NO_DATE = "19000101";
/** Series made by people in a study have low numbers. */
const SERIES_NUMBER_OFFSET = 1000;

/** Patient and de-identification attributes (PS3.3 section C.7.1.1). Empty if the source has none. */
const PATIENT: Readonly<Record<string, string>> = {
  "00100010": "PN",
  "00100020": "LO",
  "00100030": "DA",
  "00100040": "CS",
};
/** Study attributes (section C.7.2.1). */
const STUDY: Readonly<Record<string, string>> = {
  "00080020": "DA",
  "00080030": "TM",
  "00080050": "SH",
  "00080090": "PN",
  "00200010": "SH",
};
/** Container attributes of a slide (section C.7.6.22). The type may be empty, like its issuer. */
const CONTAINER_IDENTIFIER = "00400512";
const CONTAINER: Readonly<Record<string, string>> = { "00400513": "SQ", "00400518": "SQ" };
/** Copied if the source has them: issuers, age and size, de-identification, body part, container and specimen. */
const WHERE_STATED = [
  "00080051",
  "00081030",
  "00100021",
  "00100024",
  "00101010",
  "00101020",
  "00101030",
  "00120062",
  "00120063",
  "00120064",
  "00180015",
  "00400512",
  "00400560",
];
/** Lossy compression of the source also applies to the labels: ratio and method. */
const LOSSY = ["00282112", "00282114"];

export interface SegmentationHead {
  info: LabelMapInfo;
  segmentation: Segmentation;
  geometry: FrameGeometry;
  /** Attributes of the source, by tag. */
  attributes: DicomElements;
  /** All images that the labels were made from, if they have UIDs. */
  references: readonly FrameReference[];
  frames: number;
}

/** Encodes the file up to its per-frame functional groups (PS3.3 annex A.51), without them. */
export async function segmentationHead(head: SegmentationHead): Promise<Uint8Array> {
  const { info, segmentation, geometry, attributes, references } = head;
  const dcmjs = await loadDcmjs();
  const { type, algorithm } = segmentation;
  const seriesUid = readTextValue(attributes, "0020000E");
  const uid = await createUidFactory([
    segmentation.seed,
    type,
    seriesUid,
    references,
    info.placement,
    info.shape,
    info.classes,
    algorithm,
    segmentation.software,
  ]);
  const sopClass = type === "labelmap" ? LABEL_MAP_SEGMENTATION : SEGMENTATION;
  const sopInstance = await uid("instance");
  const [height, width] = info.axes === "zyx" ? info.shape.slice(1) : segmentationFrameSize(info.chunk);
  const dimensions = await uid("dimensions");
  const date =
    readTextValue(attributes, "00080023") ??
    readTextValue(attributes, "00080022") ??
    readTextValue(attributes, "00080020");
  const elements: DicomElements = {
    ...copied(attributes, { ...PATIENT, ...STUDY, ...(attributes[CONTAINER_IDENTIFIER] && CONTAINER) }),
    "00080005": one("CS", "ISO_IR 192"),
    "00080008": { vr: "CS", Value: ["DERIVED", "PRIMARY"] },
    "00080016": one("UI", sopClass),
    "00080018": one("UI", sopInstance),
    "00080023": one("DA", date ?? NO_DATE),
    "00080033": one(
      "TM",
      readTextValue(attributes, "00080033") ?? readTextValue(attributes, "00080030") ?? "000000",
    ),
    "00080060": one("CS", "SEG"),
    "00080070": one("LO", "Tilewright"),
    "0008103E": one("LO", label(`Segmentation by ${algorithm.name}`)),
    "00081090": one("LO", "Tilewright"),
    ...(seriesUid !== undefined &&
      references.length > 0 && {
        "00081115": sequence({
          "0020000E": one("UI", seriesUid),
          "0008114A": sequence(...instances(references).map(referenceItem)),
        }),
      }),
    "00181000": one("LO", "1"),
    "00181020": one("LO", label(segmentation.software)),
    "0020000D": one("UI", readTextValue(attributes, "0020000D") ?? (await uid("study"))),
    "0020000E": one("UI", await uid("series")),
    "00200011": one("IS", String(SERIES_NUMBER_OFFSET + (readNumberValues(attributes, "00200011")[0] ?? 0))),
    "00200013": one("IS", "1"),
    "00200020": { vr: "CS", Value: [] },
    "00200052": one("UI", readTextValue(attributes, "00200052") ?? (await uid("frame of reference"))),
    "00201040": attributes["00201040"] ?? { vr: "LO", Value: [] },
    "00209221": sequence({ "00209164": one("UI", dimensions) }),
    "00209222": sequence(
      ...dimensionPointers(info, type).map(([pointer, group, name]) => ({
        "00209164": one("UI", dimensions),
        "00209165": one("AT", pointer),
        "00209167": one("AT", group),
        "00209421": one("LO", name),
      })),
    ),
    ...pixelAttributes(type, head.frames, height!, width!),
    ...(readTextValue(attributes, "00282110") === "01" &&
      Object.fromEntries(LOSSY.flatMap((tag) => (attributes[tag] ? [[tag, attributes[tag]]] : [])))),
    "00282110": one("CS", readTextValue(attributes, "00282110") === "01" ? "01" : "00"),
    ...(info.axes === "yx" && slideAttributes(info, geometry)),
    ...typeAttributes(type),
    "00620002": sequence(...segments(head, dcmjs.data.Colors.rgb2DICOMLAB)),
    "00620013": one("CS", "NO"),
    "00700080": one("CS", "SEGMENTATION"),
    "00700081": one("LO", label(`Labels of ${algorithm.name}`)),
    "00700084": { vr: "PN", Value: [] },
    "52009229": sequence(sharedGroups(info, geometry)),
  };
  const file = new dcmjs.data.DicomDict({
    "00020001": { vr: "OB", Value: [Uint8Array.of(0, 1).buffer] },
    "00020002": one("UI", sopClass),
    "00020003": one("UI", sopInstance),
    "00020010": one("UI", EXPLICIT_LITTLE_ENDIAN),
    "00020012": one("UI", IMPLEMENTATION),
    "00020013": one("SH", "Tilewright"),
  });
  file.dict = elements;
  return new Uint8Array(file.write());
}

function one(vr: string, value: unknown): DicomElement {
  return { vr, Value: [value] };
}

function sequence(...items: readonly DicomElements[]): DicomElement {
  return { vr: "SQ", Value: [...items] };
}

/** Text of an LO: 64 characters, without the separator of values. */
function label(text: string): string {
  return [...text.replace(/[\\\p{Cc}]/gu, " ")].slice(0, 64).join("");
}

/** @param wanted representation of each attribute, which is written empty if absent */
function copied(attributes: DicomElements, wanted: Readonly<Record<string, string>>): DicomElements {
  const out: DicomElements = {};
  for (const [tag, vr] of Object.entries(wanted)) out[tag] = attributes[tag] ?? { vr, Value: [] };
  for (const tag of WHERE_STATED) if (attributes[tag]?.Value?.length) out[tag] = attributes[tag];
  return out;
}

/** Each file once, even if it holds many frames. */
function instances(references: readonly FrameReference[]): FrameReference[] {
  return [...new Map(references.map((reference) => [reference.sopInstance, reference])).values()];
}

function referenceItem({ sopClass, sopInstance }: FrameReference): DicomElements {
  return { "00081150": one("UI", sopClass), "00081155": one("UI", sopInstance) };
}

function dimensionPointers(info: LabelMapInfo, type: SegmentationType): [number, number, string][] {
  const segment: [number, number, string][] =
    type === "labelmap" ? [] : [[0x0062000b, 0x0062000a, "Segment Number"]];
  if (info.axes === "zyx") return [...segment, [0x00200032, 0x00209113, "Image Position Patient"]];
  return [
    ...segment,
    [0x0048021f, 0x0048021a, "Row Position In Total Image Pixel Matrix"],
    [0x0048021e, 0x0048021a, "Column Position In Total Image Pixel Matrix"],
  ];
}

function pixelAttributes(
  type: SegmentationType,
  frames: number,
  height: number,
  width: number,
): DicomElements {
  const bits = type === "binary" ? 1 : 8;
  return {
    "00280002": one("US", 1),
    "00280004": one("CS", "MONOCHROME2"),
    "00280008": one("IS", String(frames)),
    "00280010": one("US", height),
    "00280011": one("US", width),
    "00280100": one("US", bits),
    "00280101": one("US", bits),
    "00280102": one("US", bits - 1),
    "00280103": one("US", 0),
  };
}

function typeAttributes(type: SegmentationType): DicomElements {
  switch (type) {
    case "binary":
      return { "00620001": one("CS", "BINARY") };
    case "fractional":
      return {
        "00620001": one("CS", "FRACTIONAL"),
        "00620010": one("CS", "PROBABILITY"),
        "0062000E": one("US", 255),
      };
    case "labelmap":
      return { "00280120": one("US", 0), "00620001": one("CS", "LABELMAP") };
  }
}

function slideAttributes(info: LabelMapInfo, geometry: FrameGeometry): DicomElements {
  const [x, y] = geometry.position({ z: 0, row: 0, column: 0 });
  return {
    "00209311": one("CS", "TILED_SPARSE"),
    "00480006": one("UL", info.shape[1]),
    "00480007": one("UL", info.shape[0]),
    "00480008": sequence({
      "0040072A": one("DS", decimalString(x)),
      "0040073A": one("DS", decimalString(y)),
    }),
    "00480102": { vr: "DS", Value: geometry.orientation.map(decimalString) },
    "00480303": one("UL", 1),
  };
}

function sharedGroups(info: LabelMapInfo, geometry: FrameGeometry): DicomElements {
  const depth = decimalString(geometry.depth);
  return {
    ...(info.axes === "zyx" && {
      "00209116": sequence({ "00200037": { vr: "DS", Value: geometry.orientation.map(decimalString) } }),
    }),
    "00289110": sequence({
      "00180050": one("DS", depth),
      ...(info.axes === "zyx" && { "00180088": one("DS", depth) }),
      "00280030": { vr: "DS", Value: geometry.pixelSpacing.map(decimalString) },
    }),
  };
}

/** One segment per class except background; in a label map background is the padding value. */
function segments(
  { info, segmentation: { algorithm } }: SegmentationHead,
  toLab: (rgb: readonly number[]) => number[],
): DicomElements[] {
  return info.classes.flatMap(({ name, color }, number): DicomElements[] => {
    if (number === 0) return [];
    const rgb = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16) / 255);
    return [
      {
        "00620003": code("91723000", "SCT", "Anatomical Structure"),
        "00620004": one("US", number),
        "00620005": one("LO", label(name)),
        "00620007": sequence({
          "0066002F": code("123110", "DCM", "Artificial Intelligence"),
          "00660031": one("LO", label(algorithm.version)),
          "00660036": one("LO", label(algorithm.name)),
        }),
        "00620008": one("CS", "AUTOMATIC"),
        "00620009": one("LO", label(algorithm.name)),
        "0062000D": { vr: "US", Value: toLab(rgb).map((v) => Math.min(65535, Math.max(0, Math.round(v)))) },
        // No dictionary has codes for a package's classes: a private scheme, marked by "99".
        "0062000F": code(`CLASS-${number}`, "99TILEWRIGHT", label(name)),
      },
    ];
  });
}

function code(value: string, scheme: string, meaning: string): DicomElement {
  return sequence({
    "00080100": one("SH", value),
    "00080102": one("SH", scheme),
    "00080104": one("LO", meaning),
  });
}
