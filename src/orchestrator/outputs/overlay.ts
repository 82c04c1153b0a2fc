import type { Raster } from "../../tiling/grid/raster.ts";
import type { ObjectRuns } from "../../tiling/objects/collect-objects.ts";
import type { Polygon } from "../../tiling/objects/trace-polygons.ts";
import type { ObjectKind } from "./object-kinds.ts";

/** Objects smaller than this, in picture pixels, are tinted: an outline would be a blot. */
const SMALLEST_OUTLINE = 6;
const TINT_OPACITY = 0.65;
/** Opacity of filled objects, through which the picture stays visible. */
const FILL_OPACITY = 0.45;
/** Dark pictures (fluorescence) are brightened until this quantile of the pixels is white. */
const WHITE_QUANTILE = 0.997;
const DARK_BELOW = 160;

/** Outlines only, or filled areas as well. */
export const OVERLAY_STYLES = ["outline", "fill"] as const;
export type OverlayStyle = (typeof OVERLAY_STYLES)[number];

/** Draws objects on a picture of their area: outlines for large ones, tints for small ones. */
export class Overlay {
  readonly #style: OverlayStyle;
  readonly #picture: Raster<Uint8Array>;
  readonly #width: number;
  readonly #height: number;
  /** Picture pixels per label sample. */
  readonly #scaleX: number;
  readonly #scaleY: number;
  /** By picture pixel: the share that tinted objects cover, and the colour of the last of them as an index in `#palette`. */
  readonly #covered: Float32Array;
  readonly #tint: Uint8Array;
  /** By picture pixel: colour of the outline as an index in `#palette`; 0 for none. */
  readonly #outline: Uint8Array;
  /** Packed colours in the order of first use; 0 is none. A model has at most 255 classes. */
  readonly #palette: number[] = [0];

  /**
   * @param picture `[height, width, channels]` uint8; one or two channels are shown in grey, of more the first three
   * @param field size of the picture's area in label samples
   */
  constructor(
    picture: Raster<Uint8Array>,
    field: { width: number; height: number },
    style: OverlayStyle = "outline",
  ) {
    this.#style = style;
    this.#picture = picture;
    [this.#height, this.#width] = picture.shape as [number, number];
    this.#scaleX = this.#width / field.width;
    this.#scaleY = this.#height / field.height;
    const pixels = this.#width * this.#height;
    this.#covered = new Float32Array(pixels);
    this.#tint = new Uint8Array(pixels);
    this.#outline = new Uint8Array(pixels);
  }

  /** Draws an object; runs and rings are in label samples of the area. */
  draw(object: ObjectRuns, polygons: readonly Polygon[], { color }: ObjectKind): void {
    const index = this.#colorIndex(vivid(color));
    const sizeX = Math.sqrt(object.area) * this.#scaleX;
    const sizeY = Math.sqrt(object.area) * this.#scaleY;
    const isSmall = Math.min(sizeX, sizeY) < SMALLEST_OUTLINE;
    if (isSmall || this.#style === "fill") this.#cover(object.runs, index);
    if (!isSmall) for (const ring of polygons.flat()) this.#trace(ring, index);
  }

  /** The RGB picture `[height, width, 3]`. */
  finish(): Raster<Uint8Array> {
    const { data, shape } = this.#picture;
    const channels = shape[2] ?? 1;
    const second = channels < 3 ? 0 : 1;
    const gain = displayGain(data);
    const shown = Uint8Array.from({ length: 256 }, (_, v) => Math.min(255, Math.round(v * gain)));
    const palette = this.#palette;
    const tint = this.#style === "fill" ? FILL_OPACITY : TINT_OPACITY;
    const out = new Uint8Array(this.#width * this.#height * 3);
    for (let p = 0, q = 0; q < out.length; p++, q += 3) {
      const outline = this.#outline[p]!;
      const covered = this.#covered[p]!;
      const r = shown[data[p * channels]!]!;
      const g = shown[data[p * channels + second]!]!;
      const b = shown[data[p * channels + 2 * second]!]!;
      const opacity = outline > 0 ? 1 : tint * Math.min(1, covered);
      const color = palette[outline > 0 ? outline : this.#tint[p]!]!;
      out[q] = r + ((color >> 16) - r) * opacity + 0.5;
      out[q + 1] = g + (((color >> 8) & 255) - g) * opacity + 0.5;
      out[q + 2] = b + ((color & 255) - b) * opacity + 0.5;
    }
    return { data: out, shape: [this.#height, this.#width, 3] };
  }

  #colorIndex(color: number): number {
    const index = this.#palette.indexOf(color, 1);
    return index > 0 ? index : this.#palette.push(color) - 1;
  }

  #cover(runs: Int32Array, color: number): void {
    const { x: sx, y: sy } = { x: this.#scaleX, y: this.#scaleY };
    for (let i = 0; i < runs.length; i += 3) {
      const row = Math.min(this.#height - 1, Math.floor((runs[i]! + 0.5) * sy)) * this.#width;
      const from = runs[i + 1]! * sx;
      const to = Math.min(this.#width, runs[i + 2]! * sx);
      for (let x = Math.floor(from); x < to; x++) {
        this.#covered[row + x]! += (Math.min(to, x + 1) - Math.max(from, x)) * Math.min(1, sy);
        this.#tint[row + x] = color;
      }
    }
  }

  /** Draws an edge of a ring. Edges are parallel to the axes, so each is a row or column of pixels. */
  #trace(ring: ArrayLike<number>, color: number): void {
    let x0 = this.#column(ring[ring.length - 2]!);
    let y0 = this.#row(ring[ring.length - 1]!);
    for (let i = 0; i < ring.length; i += 2) {
      const x1 = this.#column(ring[i]!);
      const y1 = this.#row(ring[i + 1]!);
      for (let x = Math.min(x0, x1); x <= Math.max(x0, x1); x++) this.#outline[y0 * this.#width + x] = color;
      for (let y = Math.min(y0, y1); y <= Math.max(y0, y1); y++) this.#outline[y * this.#width + x1] = color;
      x0 = x1;
      y0 = y1;
    }
  }

  #column(x: number): number {
    return Math.min(this.#width - 1, Math.floor(x * this.#scaleX));
  }

  #row(y: number): number {
    return Math.min(this.#height - 1, Math.floor(y * this.#scaleY));
  }
}

/** The colour at full brightness: a muted line one pixel wide is invisible on stained tissue. */
export function vividColor(color: readonly [number, number, number]): [number, number, number] {
  const gain = 255 / Math.max(1, ...color);
  return color.map((c) => Math.round(c * gain)) as [number, number, number];
}

function vivid(color: readonly [number, number, number]): number {
  const [r, g, b] = vividColor(color);
  return (r << 16) | (g << 8) | b;
}

function displayGain(data: Uint8Array): number {
  const histogram = new Uint32Array(256);
  for (let i = 0; i < data.length; i++) histogram[data[i]!]!++;
  let seen = 0;
  let white = 0;
  while (white < 255 && seen + histogram[white]! < WHITE_QUANTILE * data.length) seen += histogram[white++]!;
  return white > 0 && white < DARK_BELOW ? 255 / white : 1;
}
