import { ImageFormatError } from "../../image/errors.ts";
import type { PagesAs, Spacing } from "../../image/image-source.ts";
import { micrometersPer } from "../../image/length-units.ts";
import { plausibleSpacing } from "../../image/spacing.ts";
import type { TiffFile } from "./directory.ts";
import type { TiffPage } from "./page.ts";
import { resolutionSpacing } from "./resolution.ts";
import { rowBytes } from "./samples.ts";
import { parseStack, type StatedStack } from "./stack-description.ts";
import { COMPRESSION, TAG } from "./tags.ts";

/** Far above any stack: stops a loop over a damaged count. */
const MAX_PLANES = 65_536;

export interface StackLayout {
  /** Which program states it, for the format's name. */
  name: string;
  /** `[z][c]` */
  pages: TiffPage[][];
  axes: "yx" | "zyx";
  spacing: Spacing | undefined;
  /** Whether planes lie behind the only page, without directories of their own. */
  virtual: boolean;
  /** Whether the user stated the meaning of its pages. */
  asked: boolean;
}

/**
 * The planes of a stack in order, as ImageJ or tifffile states it in the description of the first page, or as the
 * user does.
 * @param pages all of one size
 * @returns undefined for a single page of which nothing more is stated
 * @throws {ImageFormatError} when the meaning of the pages is not stated, planes are missing, or they are times
 */
export async function stackLayout(
  file: TiffFile,
  pages: readonly TiffPage[],
  description: string | undefined,
  pagesAs: PagesAs | undefined,
  signal?: AbortSignal,
): Promise<StackLayout | undefined> {
  const first = pages[0]!;
  const stated = (await metaMorphStack(first, signal)) ?? parseStack(description, first);
  if (stated === undefined && pages.length === 1) return undefined;
  const { key } = file.source;
  const formatError = (reason: string) => new ImageFormatError(`${key}: ${reason}`);
  const count = stated?.planes ?? pages.length;
  if (!Number.isInteger(count) || count < 1 || count > MAX_PLANES)
    throw formatError(`its description states ${count} planes, which cannot be read; export it again`);
  if (count > 1 && file.chainFault)
    throw formatError(`${file.chainFault}, so planes are missing; copy the file again or export it again`);
  const virtual = pages.length === 1 && count > 1;
  const planes = virtual ? await planesBehind(file, first, count, formatError, signal) : [...pages];
  if (planes.length !== count) {
    throw formatError(
      `its description states ${count} planes and ${planes.length} pages are there; copy the file again or export it again`,
    );
  }
  const order = resolvePlaneOrder(count, stated, pagesAs, formatError);
  const rows = Array.from({ length: order.z }, (_, z) =>
    Array.from({ length: order.c }, (_, c) => planes[order.at(c, z)]!),
  );
  const axes = order.z > 1 ? "zyx" : "yx";
  return {
    name: stated?.name ?? "multi-page",
    pages: rows,
    axes,
    spacing: await readSpacing(first, stated, axes, signal),
    virtual,
    asked: count > 1 && pagesAs !== undefined,
  };
}

/** MetaMorph's STK: one directory, and a tag with as many values as planes follow; their meaning is not stated. */
async function metaMorphStack(
  { directory }: TiffPage,
  signal?: AbortSignal,
): Promise<StatedStack | undefined> {
  const planes = directory.array(TAG.metaMorphPlanes)?.length ?? 0;
  if (planes < 2) return undefined;
  const unit = (await directory.number(TAG.resolutionUnit, signal)) === 1 ? "pixel" : undefined;
  return { name: "MetaMorph", planes, dimensions: undefined, unit, spacing: undefined, spacingZ: undefined };
}

/** Index of the plane of channel c at depth z. */
interface PlaneOrder {
  c: number;
  z: number;
  at(c: number, z: number): number;
}

function resolvePlaneOrder(
  count: number,
  stated: StatedStack | undefined,
  pagesAs: PagesAs | undefined,
  formatError: (reason: string) => ImageFormatError,
): PlaneOrder {
  if (count === 1) return { c: 1, z: 1, at: () => 0 };
  if (pagesAs === "channels") return { c: count, z: 1, at: (c) => c };
  if (pagesAs === "z") return { c: 1, z: count, at: (_, z) => z };
  const times = stated?.dimensions?.find(({ axis }) => axis === "T");
  if (times)
    throw formatError(
      `it is a series of ${times.size} times, and one image is wanted; export one time point`,
    );
  const known = stated?.dimensions?.every(({ axis }) => axis === "C" || axis === "Z");
  if (!stated?.dimensions || !known) {
    throw formatError(
      `it is a stack of ${count} pages of equal size, and it does not say whether they are channels, depths or times; say it with --pages-as channels or --pages-as z, or convert it to OME-TIFF`,
    );
  }
  const sizes = { C: 1, Z: 1 };
  const steps = { C: 0, Z: 0 };
  let step = 1;
  for (const { axis, size } of [...stated.dimensions].reverse()) {
    sizes[axis as "C" | "Z"] = size;
    steps[axis as "C" | "Z"] = step;
    step *= size;
  }
  return { c: sizes.C, z: sizes.Z, at: (c, z) => c * steps.C + z * steps.Z };
}

/** Planes behind that of the only page, as ImageJ stores stacks of 4 GiB and more. */
async function planesBehind(
  file: TiffFile,
  page: TiffPage,
  count: number,
  formatError: (reason: string) => ImageFormatError,
  signal?: AbortSignal,
): Promise<TiffPage[]> {
  const offsets = page.directory.array(TAG.stripOffsets);
  const strips = Math.ceil(page.height / page.tileHeight);
  if (page.tiled || page.compression !== COMPRESSION.none || offsets === undefined || page.planar === 2) {
    throw formatError(
      `its description states ${count} planes, and it has one page alone; copy the file again or export it again`,
    );
  }
  const row = rowBytes(page.width * page.samplesPerPixel, page.format);
  const bytes = row * page.height;
  const [begin, last] = await offsets.at([0, Math.min(strips, offsets.length) - 1], signal);
  const held = Math.floor((file.source.byteLength - begin!) / bytes);
  if (held < count || last! - begin! !== (strips - 1) * page.tileHeight * row) {
    throw formatError(
      `its description states ${count} planes, and the file holds ${Math.max(1, held)}; copy the file again or export it again`,
    );
  }
  return Array.from({ length: count }, (_, i) => ({ ...page, planeShift: i * bytes }));
}

async function readSpacing(
  page: TiffPage,
  stated: StatedStack | undefined,
  axes: "yx" | "zyx",
  signal?: AbortSignal,
): Promise<Spacing | undefined> {
  const plane = stated?.spacing ?? (await planeSpacing(page, stated, signal));
  if (plane === undefined || axes === "yx") return plane;
  const z = stated?.spacingZ;
  return z === undefined ? undefined : { values: [z, ...plane.values], unit: "micrometer" };
}

/** ImageJ and tifffile name the unit in the description; the tags count pixels per unit. */
async function planeSpacing(page: TiffPage, stated: StatedStack | undefined, signal?: AbortSignal) {
  if (stated?.unit === undefined) return resolutionSpacing(page.directory, signal);
  const unit = micrometersPer(stated.unit);
  const x = await page.directory.rational(TAG.xResolution, signal);
  const y = await page.directory.rational(TAG.yResolution, signal);
  if (unit === undefined || !x || !y) return undefined;
  return plausibleSpacing(unit / y, unit / x);
}
