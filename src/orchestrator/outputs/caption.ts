import type { Raster } from "../../tiling/grid/raster.ts";
import { drawText, LETTER } from "./bitmap-font.ts";

/** The strip below a picture. */
export interface Caption {
  /** Names of the colours. */
  legend: readonly { name: string; color: readonly [number, number, number] }[];
  /** Micrometres per pixel of the picture, for the scale bar; undefined if unknown. */
  micrometresPerPixel: number | undefined;
  /** Warnings, a sentence each. */
  warnings: readonly string[];
}

type Colour = readonly [number, number, number];
const INK: Colour = [33, 37, 41];
const ALARM: Colour = [200, 30, 30];
/** Maximum length of the scale bar as a share of the picture. */
const BAR_SHARE = 0.25;
/** Letters are drawn larger on pictures wider than this. */
const WIDTH_PER_SCALE = 900;
const LEAST_WIDTH = 160;

/** Adds a strip below a picture `[h, w, 3]`: scale bar, legend, warnings. Narrow pictures are padded to a wider strip. */
export function withCaption(picture: Raster<Uint8Array>, caption: Caption): Raster<Uint8Array> {
  const [height, pictureWidth] = picture.shape as [number, number];
  const scale = Math.max(1, Math.round(pictureWidth / WIDTH_PER_SCALE));
  const width = Math.max(pictureWidth, LEAST_WIDTH);
  const lines = layOut(caption, width, pictureWidth, scale);
  const lineHeight = (LETTER.height + 4) * scale;
  const out: Raster<Uint8Array> = {
    data: new Uint8Array((height + lines.length * lineHeight + 4 * scale) * width * 3).fill(255),
    shape: [height + lines.length * lineHeight + 4 * scale, width, 3],
  };
  for (let y = 0; y < height; y++) {
    out.data.set(picture.data.subarray(y * pictureWidth * 3, (y + 1) * pictureWidth * 3), y * width * 3);
  }
  lines.forEach((line, n) => {
    const top = height + n * lineHeight + 4 * scale;
    for (const mark of line) mark(out, top, scale);
  });
  return out;
}

type Mark = (on: Raster<Uint8Array>, top: number, scale: number) => void;

/** Breaks the legend into lines, left to right. */
function layOut(
  { legend, micrometresPerPixel, warnings }: Caption,
  width: number,
  pictureWidth: number,
  scale: number,
): Mark[][] {
  const gap = 2 * LETTER.width * scale;
  const lines: Mark[][] = [[]];
  let left = gap / 2;
  const place = (length: number, mark: (left: number) => Mark) => {
    if (left > gap / 2 && left + length > width) {
      lines.push([]);
      left = gap / 2;
    }
    lines.at(-1)!.push(mark(left));
    left += length + gap;
  };
  const textWidth = (text: string) => [...text].length * LETTER.width * scale;
  if (micrometresPerPixel !== undefined) {
    const micrometres = scaleBarLength(micrometresPerPixel * pictureWidth * BAR_SHARE);
    const length = Math.max(1, Math.round(micrometres / micrometresPerPixel));
    const label = lengthText(micrometres);
    place(length + gap / 2 + textWidth(label), (at) => (on, top, s) => {
      fill(on, { x: at, y: top + 5 * s, width: length, height: 3 * s }, INK);
      write(on, label, at + length + gap / 2, top, s, INK);
    });
  }
  const lettersIn = (room: number) => Math.max(8, Math.floor(room / (LETTER.width * scale)));
  for (const { name, color } of legend) {
    const swatch = 9 * scale;
    const indent = swatch + gap / 2;
    // A name longer than a line continues below, beside its swatch.
    const [first = "", ...others] = wrap(name, lettersIn(width - gap - indent));
    place(indent + textWidth(first), (at) => (on, top, s) => {
      fill(on, { x: at, y: top + 2 * s, width: swatch, height: swatch }, color);
      write(on, first, at + indent, top, s, INK);
    });
    for (const part of others) {
      lines.push([(on, top, s) => write(on, part, gap / 2 + indent, top, s, INK)]);
      left = gap / 2 + indent + textWidth(part) + gap;
    }
  }
  const perLine = lettersIn(width - gap);
  for (const warning of warnings) {
    for (const part of wrap(warning, perLine)) {
      lines.push([(on, top, s) => write(on, part, gap / 2, top, s, ALARM)]);
    }
  }
  return lines.filter((line) => line.length > 0);
}

/** The largest value of the form 1, 2 or 5 × 10ⁿ that is at most `micrometres`. */
export function scaleBarLength(longest: number): number {
  const power = 10 ** Math.floor(Math.log10(longest));
  return (longest >= 5 * power ? 5 : longest >= 2 * power ? 2 : 1) * power;
}

function lengthText(micrometres: number): string {
  const [value, unit] = micrometres >= 1000 ? [micrometres / 1000, "mm"] : [micrometres, "µm"];
  return `${Number(value.toPrecision(3))} ${unit}`;
}

/** Wraps text between words; a word longer than a line is broken. */
function wrap(text: string, length: number): string[] {
  const lines: string[] = [];
  const words = text.split(" ").flatMap((word) => {
    const letters = [...word];
    const parts = Array.from({ length: Math.ceil(letters.length / length) }, (_, i) =>
      letters.slice(i * length, (i + 1) * length).join(""),
    );
    return parts.length > 0 ? parts : [""];
  });
  for (const word of words) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= length)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function write(
  on: Raster<Uint8Array>,
  text: string,
  left: number,
  top: number,
  scale: number,
  colour: Colour,
): void {
  drawText(text, (x, y) =>
    fill(on, { x: left + x * scale, y: top + y * scale, width: scale, height: scale }, colour),
  );
}

function fill(
  { data, shape }: Raster<Uint8Array>,
  box: { x: number; y: number; width: number; height: number },
  colour: Colour,
): void {
  const [height, width] = shape as [number, number];
  for (let y = Math.floor(box.y); y < Math.min(height, box.y + box.height); y++) {
    for (let x = Math.floor(box.x); x < Math.min(width, box.x + box.width); x++) {
      data.set(colour, (y * width + x) * 3);
    }
  }
}
