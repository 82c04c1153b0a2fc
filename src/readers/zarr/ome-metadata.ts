import * as z from "zod";
import type { Channel, Spacing } from "../../image/image-source.ts";
import { MISSING } from "./array-metadata.ts";

/** The part of OME-Zarr 0.4 and 0.5 metadata that an image reader needs. */
const Transform = z.looseObject({ type: z.string(), scale: z.array(z.number()).optional() });

/** t, c, z, y, x. */
const MAX_AXES = 5;
/** The largest side halves to a single sample in fewer levels. */
const MAX_LEVELS = 64;
const MAX_CHANNELS = 65_536;
const transforms = z.array(Transform).max(16);

const Multiscale = z.looseObject({
  axes: z
    .array(z.looseObject({ name: z.string(), type: z.string().optional(), unit: z.string().optional() }))
    .min(2)
    .max(MAX_AXES, `it has more than ${MAX_AXES} axes`),
  // Each level takes a request to open.
  datasets: z
    .array(z.looseObject({ path: z.string().max(1024), coordinateTransformations: transforms }))
    .min(1)
    .max(MAX_LEVELS, `it has more than ${MAX_LEVELS} levels`),
  coordinateTransformations: transforms.optional(),
});

const Omero = z.looseObject({
  channels: z
    .array(z.looseObject({ label: z.string().optional(), color: z.string().optional() }))
    .max(MAX_CHANNELS)
    .optional(),
});

export interface OmeZarrImage {
  /** Names of the axes in the arrays' order: y and x, and any of t, c and z. */
  axes: string[];
  /** Array paths, level 0 first. */
  paths: string[];
  /** Spacing of level 0 along some of its axes; undefined if one has no unit of length. */
  spacingAlong(axes: readonly string[]): Spacing | undefined;
  channels: Channel[];
}

/** Slow to fast, in the order of this reader; a file may store them in any order. */
const SPATIAL = ["z", "y", "x"];

/** Micrometres per unit, by the UDUNITS names that OME-Zarr uses and by common symbols. */
const MICROMETERS = new Map([
  ["angstrom", 1e-4],
  ["nanometer", 1e-3],
  ["nm", 1e-3],
  ["micrometer", 1],
  ["micron", 1],
  ["um", 1],
  // The micro sign, and the Greek letter that looks like it.
  ["\u00b5m", 1],
  ["\u03bcm", 1],
  ["millimeter", 1e3],
  ["mm", 1e3],
  ["centimeter", 1e4],
  ["cm", 1e4],
  ["decimeter", 1e5],
  ["meter", 1e6],
  ["m", 1e6],
  ["inch", 25_400],
]);

/**
 * Parses the first multiscale of a group's OME attributes.
 * @throws {Error} whose message completes the sentence "… is not a valid OME-Zarr image: …"
 */
export function parseOmeZarr(attributes: { multiscales?: unknown; omero?: unknown }): OmeZarrImage {
  const multiscales = z
    .array(z.unknown())
    .min(1, "its list of multiscales is empty")
    .safeParse(attributes.multiscales, MISSING);
  if (!multiscales.success) throw new Error(firstIssue(multiscales.error));
  const parsed = Multiscale.safeParse(multiscales.data[0], MISSING);
  if (!parsed.success) {
    throw new Error(`${firstIssue(parsed.error)} (versions 0.4 and 0.5 are read)`);
  }
  const { axes, datasets, coordinateTransformations } = parsed.data;
  const names = axes.map((axis) => axis.name);
  const known = names.every((name) => ["t", "c", ...SPATIAL].includes(name));
  if (!known || new Set(names).size < names.length || !names.includes("y") || !names.includes("x")) {
    throw new Error(`its axes are ${names.join(", ")}, and supported are y, x and any of t, c, z`);
  }
  const first = findScale(datasets[0]!.coordinateTransformations, names.length);
  const outer = findScale(coordinateTransformations ?? [], names.length) ?? names.map(() => 1);
  if (first === undefined) throw new Error("its level 0 states no scale");
  const spatial = axes
    .map((axis, i) => ({ ...axis, scale: first[i]! * outer[i]! }))
    .filter(({ name }) => SPATIAL.includes(name))
    .sort((a, b) => SPATIAL.indexOf(a.name) - SPATIAL.indexOf(b.name));
  return {
    axes: names,
    paths: datasets.map(({ path }) => path),
    spacingAlong: (wanted) => parseSpacing(spatial.filter(({ name }) => wanted.includes(name))),
    channels: parseChannels(attributes.omero),
  };
}

function findScale(transforms: readonly z.infer<typeof Transform>[], length: number): number[] | undefined {
  const scale = transforms.find(({ type }) => type === "scale")?.scale;
  return scale?.length === length ? scale : undefined;
}

function parseSpacing(axes: readonly { unit?: string; scale: number }[]): Spacing | undefined {
  const values: number[] = [];
  for (const { unit, scale } of axes) {
    const factor = MICROMETERS.get(unit ?? "");
    if (factor === undefined || !(scale > 0)) return undefined;
    values.push(scale * factor);
  }
  if (axes.every(({ unit }) => unit === "millimeter" || unit === "mm")) {
    return { values: axes.map(({ scale }) => scale), unit: "millimeter" };
  }
  return { values, unit: "micrometer" };
}

function parseChannels(omero: unknown): Channel[] {
  const parsed = Omero.safeParse(omero);
  if (!parsed.success) return [];
  return (parsed.data.channels ?? []).map(({ label, color }) => {
    const channel: Channel = {};
    if (label) channel.name = label;
    if (color && /^[0-9a-f]{6}$/i.test(color)) channel.color = `#${color.toLowerCase()}`;
    return channel;
  });
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]!;
  return issue.path.length > 0 ? `${issue.path.join(".")}: ${issue.message}` : issue.message;
}
