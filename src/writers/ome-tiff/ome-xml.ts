import { escapeXml } from "../../codecs/xml.ts";
import type { LabelMapInfo } from "../../image/label-sink.ts";

const NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06";

/** Micrometres per sample `[y, x]`, if the map's spacing is known. */
export function micrometersPerSample(info: LabelMapInfo): [number, number] | undefined {
  if (info.spacing === undefined) return undefined;
  const scale = info.spacing.unit === "millimeter" ? 1000 : 1;
  return [info.spacing.values[0]! * scale, info.spacing.values[1]! * scale];
}

/**
 * OME-XML (schema 2016-06) of a single-plane label map: pixel size (in µm, OME's default unit), position in µm, class
 * names and colours, and the placement in the source as map annotations.
 */
export function labelOmeXml(info: LabelMapInfo): string {
  const [height, width] = info.shape as [number, number];
  const um = micrometersPerSample(info);
  const size = um === undefined ? "" : ` PhysicalSizeX="${um[1]}" PhysicalSizeY="${um[0]}"`;
  const { origin, downsample } = info.placement;
  const position = (a: number) => (origin[a]! * um![a]!) / downsample[a]!;
  const plane =
    um === undefined
      ? ""
      : `<Plane TheZ="0" TheT="0" TheC="0" PositionX="${position(1)}" PositionXUnit="&#181;m" ` +
        `PositionY="${position(0)}" PositionYUnit="&#181;m"/>`;
  const annotations = [
    mapAnnotation(0, "tilewright/placement", [
      ["origin_y", String(origin[0])],
      ["origin_x", String(origin[1])],
      ["downsample_y", String(downsample[0])],
      ["downsample_x", String(downsample[1])],
    ]),
  ];
  if (info.classes.length > 0) {
    annotations.push(
      mapAnnotation(
        1,
        "tilewright/classes",
        info.classes.map((c, i) => [String(i), c.name]),
      ),
      mapAnnotation(
        2,
        "tilewright/colors",
        info.classes.map((c, i) => [String(i), c.color]),
      ),
    );
  }
  const refs = annotations.map((_, i) => `<AnnotationRef ID="Annotation:${i}"/>`).join("");
  const channel = info.dtype === "uint8" ? "class index" : "object number";
  return (
    `<?xml version="1.0" encoding="UTF-8"?>` +
    `<OME xmlns="${NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ` +
    `xsi:schemaLocation="${NAMESPACE} ${NAMESPACE}/ome.xsd" Creator="Tilewright">` +
    `<Image ID="Image:0" Name="${escapeXml(info.name)}">` +
    `<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="${info.dtype}" SizeX="${width}" SizeY="${height}" ` +
    `SizeC="1" SizeZ="1" SizeT="1" BigEndian="false" Interleaved="false"${size}>` +
    `<Channel ID="Channel:0:0" Name="${channel}" SamplesPerPixel="1"/>` +
    `<TiffData IFD="0" PlaneCount="1"/>${plane}</Pixels>${refs}</Image>` +
    `<StructuredAnnotations>${annotations.join("")}</StructuredAnnotations></OME>`
  );
}

function mapAnnotation(id: number, namespace: string, entries: [string, string][]): string {
  const values = entries.map(([k, v]) => `<M K="${escapeXml(k)}">${escapeXml(v)}</M>`).join("");
  return `<MapAnnotation ID="Annotation:${id}" Namespace="${namespace}"><Value>${values}</Value></MapAnnotation>`;
}
