const MOST = 64;
const LEAST = 16;
const SAMPLES = 1 << 20;

/**
 * Rows of a map of this width that are gone through at a time: few enough to stay in cache, and fewer yet on the widest maps,
 * where memory matters more.
 */
export function stripHeight(width: number): number {
  return Math.max(LEAST, Math.min(MOST, Math.floor(SAMPLES / width)));
}
