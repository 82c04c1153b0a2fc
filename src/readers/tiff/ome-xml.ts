import { childrenNamed, parseXml, type XmlElement } from "../../codecs/xml.ts";
import type { Channel, Spacing } from "../../image/image-source.ts";
import { micrometersPer } from "../../image/length-units.ts";

/** One image of an OME-XML document (OME model 2016-06; older models name the same attributes). */
export interface OmeImage {
  name: string;
  sizeX: number;
  sizeY: number;
  sizeZ: number;
  sizeC: number;
  sizeT: number;
  /** One for each `Channel` element. */
  channels: Channel[];
  /** Samples per pixel of the `Channel` elements; undefined where not stated. */
  channelSamples: (number | undefined)[];
  /** The page (IFD) of the first plane. */
  firstPage: number;
  /** Another file that planes lie in. */
  otherFile: string | undefined;
  /** `[y, x]` micrometres. */
  spacing: Spacing | undefined;
  /** Distance of planes in micrometres. */
  spacingZ: number | undefined;
  objectivePower: number | undefined;
  /**
   * The page (IFD) of each plane, `[z][c]`; undefined where none is named.
   * @param channels planes per z, and `sizeZ` of them: bounded by the caller, since this loops over all
   * @returns undefined when the document names planes repeatedly
   */
  resolvePages(channels: number): (number | undefined)[][] | undefined;
}

export interface OmeDocument {
  /** The companion file with the metadata, if this file has planes alone. */
  companion: string | undefined;
  images: { name: string; read(): OmeImage }[];
}

/** All images (series) of a document, in order; undefined when it is not well-formed OME-XML. */
export function parseOmeXml(text: string): OmeDocument | undefined {
  const root = parseXml(text);
  if (root?.name !== "OME") return undefined;
  return {
    companion: childrenNamed(root, "BinaryOnly")[0]?.attributes.MetadataFile,
    images: childrenNamed(root, "Image").flatMap((image) => {
      const pixels = childrenNamed(image, "Pixels")[0];
      if (pixels === undefined) return [];
      return [{ name: image.attributes.Name ?? "", read: () => readImage(root, image, pixels) }];
    }),
  };
}

function readImage(root: XmlElement, image: XmlElement, pixels: XmlElement): OmeImage {
  const size = (axis: string) => Number(pixels.attributes[`Size${axis}`] ?? 1);
  const elements = childrenNamed(pixels, "Channel");
  const datas = childrenNamed(pixels, "TiffData");
  const y = length(pixels, "Y");
  const x = length(pixels, "X");
  const ownFile = readFileName(datas[0]);
  return {
    name: image.attributes.Name ?? "",
    sizeX: size("X"),
    sizeY: size("Y"),
    sizeZ: size("Z"),
    sizeC: size("C"),
    sizeT: size("T"),
    channels: elements.map((c) => parseChannel(c)),
    channelSamples: elements.map((c) => {
      const samples = Number(c.attributes.SamplesPerPixel ?? Number.NaN);
      return Number.isInteger(samples) && samples >= 1 ? samples : undefined;
    }),
    firstPage: parseCount(datas[0]?.attributes.IFD, 0),
    otherFile: datas.map(readFileName).find((file) => file !== undefined && file !== ownFile),
    spacing: y && x ? { values: [y, x], unit: "micrometer" } : undefined,
    spacingZ: length(pixels, "Z"),
    objectivePower: objectivePower(root, image),
    resolvePages: (channels) => planePages(pixels, datas, channels, size("Z")),
  };
}

function parseChannel(element: XmlElement): Channel {
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
  const factor = micrometersPer(pixels.attributes[`PhysicalSize${axis}Unit`] ?? "µm");
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

/**
 * The TiffData elements, by the OME-TIFF specification: without attributes planes continue in order. There is one
 * time.
 */
function planePages(
  pixels: XmlElement,
  datas: readonly XmlElement[],
  channels: number,
  depths: number,
): (number | undefined)[][] | undefined {
  const pages = Array.from({ length: depths }, () => new Array<number | undefined>(channels).fill(undefined));
  const total = channels * depths;
  const channelsFirst = (pixels.attributes.DimensionOrder ?? "XYCZT").replace(/[^CZ]/g, "") !== "ZC";
  // Each plane is named once, and each element is visited once.
  let steps = 2 * total + datas.length;
  for (const { attributes: a } of datas.length > 0 ? datas : [{ attributes: {} as Record<string, string> }]) {
    const first = parseCount(a.IFD, 0);
    const count = parseCount(a.PlaneCount, a.IFD === undefined ? total : 1);
    let c = parseCount(a.FirstC, 0);
    let z = parseCount(a.FirstZ, 0);
    // Some writers count the samples of a colour as channels.
    if (c >= channels)
      c = channels === 1 ? 0 : Math.floor((c * channels) / parseCount(pixels.attributes.SizeC, channels));
    for (let i = 0; i < count && c < channels && z < depths; i++) {
      if (steps-- === 0) return undefined;
      pages[z]![c] = first + i;
      if (channelsFirst) {
        if (++c === channels) {
          c = 0;
          z++;
        }
      } else if (++z === depths) {
        z = 0;
        c++;
      }
    }
  }
  return pages;
}

/** A whole number from 0; the default for anything else. */
function parseCount(text: string | undefined, otherwise: number): number {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : otherwise;
}

function readFileName(data: XmlElement | undefined): string | undefined {
  return childrenNamed(data, "UUID")[0]?.attributes.FileName;
}
