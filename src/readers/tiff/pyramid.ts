import { ImageFormatError } from "../../image/errors.ts";
import type { PageOutline } from "./page.ts";

/**
 * The `candidates` that show the same picture as `base` in fewer pixels, largest first. Pages of another aspect ratio
 * (labels, macros) drop out; sizes may be off by the rounding of repeated halving.
 */
export function reducedPages<T extends Pick<PageOutline, "width" | "height">>(
  base: T,
  candidates: readonly T[],
): T[] {
  const kept: T[] = [];
  const sorted = candidates.filter((page) => page.width < base.width || page.height < base.height);
  sorted.sort((a, b) => b.width * b.height - a.width * a.height);
  for (const page of sorted) {
    const factor = base.width / page.width;
    const slack = Math.max(2, 0.01 * page.height);
    if (Math.abs(base.height / factor - page.height) > slack) continue;
    const last = kept.at(-1) ?? base;
    if (page.width < last.width || page.height < last.height) kept.push(page);
  }
  return kept;
}

/** @throws {ImageFormatError} when levels of one image have different samples */
export function checkSameSamples(key: string, levels: readonly { dtype: string; channels: number }[]): void {
  const first = levels[0]!;
  for (const level of levels) {
    if (level.dtype !== first.dtype || level.channels !== first.channels) {
      throw new ImageFormatError(
        `${key}: its levels have different samples (${first.channels} × ${first.dtype} and ${level.channels} × ${level.dtype}); export it again`,
      );
    }
  }
}
