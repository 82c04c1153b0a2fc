/** A bar of a round length: 1, 2 or 5 times a power of ten. */
export interface ScaleBar {
  /** Length in device pixels. */
  pixels: number;
  text: string;
}

/** The longest round bar of at most `most` device pixels. @param mpp micrometres per level-0 pixel, if known */
export function chooseScaleBar(scale: number, mpp: number | undefined, most: number): ScaleBar {
  const unitPixels = mpp === undefined ? scale : scale / mpp;
  const longest = most / unitPixels;
  const power = 10 ** Math.floor(Math.log10(longest));
  const factor = [5, 2, 1].find((f) => f * power <= longest * (1 + 1e-9)) ?? 1;
  const length = factor * power;
  return {
    pixels: length * unitPixels,
    text: mpp === undefined ? `${round3(length)} px` : lengthText(length),
  };
}

/** A length in micrometres with its unit. */
export function lengthText(micrometres: number): string {
  const size = Math.abs(micrometres);
  if (size >= 10_000) return `${round3(micrometres / 10_000)} cm`;
  if (size >= 1000) return `${round3(micrometres / 1000)} mm`;
  if (size >= 1 || size === 0) return `${round3(micrometres)} µm`;
  return `${round3(micrometres * 1000)} nm`;
}

function round3(value: number): string {
  return String(Number(value.toPrecision(4)));
}
