import type { Channel, Spacing } from "../image-source.ts";
import { childrenNamed, parseXml, type XmlElement } from "./xml.ts";

/** What OME-XML says of one image (OME model 2016-06; older ones name the same attributes). */
export interface OmeImage {
  name: string;
  sizeX: number;
  sizeY: number;
  sizeZ: number;
  sizeC: number;
  sizeT: number;
  channels: Channel[];
  /** Samples per pixel of each `Channel` element; their sum is `sizeC`. */
  channelSamples: number[];
  /** Position of the page (IFD) that holds plane z of channel element c. */
  pageOf(c: number, z: number): number | undefined;
  /** Other files that planes lie in. */
  otherFiles: string[];
  /** `[y, x]` micrometres. */
  spacing: Spacing | undefined;
  /** Distance of planes in micrometres. */
  spacingZ: number | undefined;
  objectivePower: number | undefined;
}

/** Micrometres per OME length unit; "pixel" and "reference frame" are no lengths. */
const MICROMETERS: Record<string, number> = {
  m: 1e6,
  dm: 1e5,
  cm: 1e4,
  mm: 1e3,
  µm: 1,
  μm: 1,
  um: 1,
  nm: 1e-3,
  pm: 1e-6,
  Å: 1e-4,
  in: 25_400,
  thou: 25.4,
};

/** All images (series) of a document, in order; undefined when it is not well-formed OME-XML. */
export function parseOmeXml(text: string): OmeImage[] | undefined {
  const root = parseXml(text);
  if (root?.name !== "OME") return undefined;
  return childrenNamed(root, "Image").flatMap((image) => {
    const pixels = childrenNamed(image, "Pixels")[0];
    return pixels ? [readImage(root, image, pixels)] : [];
  });
}

function readImage(root: XmlElement, image: XmlElement, pixels: XmlElement): OmeImage {
  const size = (axis: string) => Number(pixels.attributes[`Size${axis}`] ?? 1);
  const [sizeC, sizeZ, sizeT] = [size("C"), size("Z"), size("T")];
  const elements = childrenNamed(pixels, "Channel");
  const channelSamples = elements.map((c) => Number(c.attributes.SamplesPerPixel ?? 1));
  // Documents without Channel elements: one sample each.
  while (channelSamples.reduce((a, b) => a + b, 0) < sizeC) channelSamples.push(1);
  const y = length(pixels, "Y");
  const x = length(pixels, "X");
  const pages = planePages(pixels, channelSamples.length, sizeZ, sizeT);
  return {
    name: image.attributes.Name ?? "",
    sizeX: size("X"),
    sizeY: size("Y"),
    sizeZ,
    sizeC,
    sizeT,
    channels: elements.map((c) => channelOf(c)),
    channelSamples,
    pageOf: (c, z) => pages.pageOf.get(planeKey(c, z, 0)),
    otherFiles: pages.otherFiles,
    spacing: y && x ? { values: [y, x], unit: "micrometer" } : undefined,
    spacingZ: length(pixels, "Z"),
    objectivePower: objectivePower(root, image),
  };
}

function channelOf(element: XmlElement): Channel {
  const { Name, Fluor, Color } = element.attributes;
  const channel: Channel = {};
  const name = Name || Fluor;
  if (name) channel.name = name;
  if (Color !== undefined && /^-?\d+$/.test(Color)) {
    // Signed 32-bit RGBA.
    channel.color = `#${(Number(Color) >>> 8).toString(16).padStart(6, "0").slice(-6)}`;
  }
  return channel;
}

function length(pixels: XmlElement, axis: string): number | undefined {
  const value = Number(pixels.attributes[`PhysicalSize${axis}`] ?? Number.NaN);
  const factor = MICROMETERS[pixels.attributes[`PhysicalSize${axis}Unit`] ?? "µm"];
  return value > 0 && Number.isFinite(value) && factor !== undefined ? value * factor : undefined;
}

function objectivePower(root: XmlElement, image: XmlElement): number | undefined {
  const id = childrenNamed(image, "ObjectiveSettings")[0]?.attributes.ID;
  const objectives = childrenNamed(root, "Instrument").flatMap((i) => childrenNamed(i, "Objective"));
  const objective = id
    ? objectives.find((o) => o.attributes.ID === id)
    : objectives.length === 1
      ? objectives[0]
      : undefined;
  const power = Number(objective?.attributes.NominalMagnification ?? Number.NaN);
  return power > 0 ? power : undefined;
}

function planeKey(c: number, z: number, t: number): string {
  return `${c},${z},${t}`;
}

/** The TiffData elements, after the OME-TIFF specification: where attributes are left out, planes go on in order. */
function planePages(pixels: XmlElement, sizeC: number, sizeZ: number, sizeT: number) {
  const pageOf = new Map<string, number>();
  const otherFiles = new Set<string>();
  const order = (pixels.attributes.DimensionOrder ?? "XYCZT").slice(2);
  const sizes: Record<string, number> = { C: sizeC, Z: sizeZ, T: sizeT };
  const ownFile = fileNameOf(childrenNamed(pixels, "TiffData")[0]);
  const datas = childrenNamed(pixels, "TiffData");
  const total = Math.min(sizeC * sizeZ * sizeT, 1_000_000);
  for (const data of datas.length > 0 ? datas : [{ name: "TiffData", attributes: {}, children: [] }]) {
    const a = data.attributes as Record<string, string | undefined>;
    const file = fileNameOf(data);
    if (file !== undefined && file !== ownFile) {
      otherFiles.add(file);
      continue;
    }
    const first = a.IFD === undefined ? 0 : Number(a.IFD);
    const count = a.PlaneCount !== undefined ? Number(a.PlaneCount) : a.IFD !== undefined ? 1 : total;
    const position: Record<string, number> = {
      C: Number(a.FirstC ?? 0),
      Z: Number(a.FirstZ ?? 0),
      T: Number(a.FirstT ?? 0),
    };
    for (let i = 0; i < Math.min(count, total); i++) {
      pageOf.set(planeKey(position.C!, position.Z!, position.T!), first + i);
      for (const axis of order) {
        position[axis]!++;
        if (position[axis]! < sizes[axis]!) break;
        position[axis] = 0;
      }
    }
  }
  return { pageOf, otherFiles: [...otherFiles] };
}

function fileNameOf(data: XmlElement | undefined): string | undefined {
  return childrenNamed(data, "UUID")[0]?.attributes.FileName;
}
