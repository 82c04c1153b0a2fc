const MAX_ROWS = 64;
const MIN_ROWS = 16;
const MAX_SAMPLES = 1 << 20;

/**
 * Height of a strip of a map of this width: small enough for the cache, and smaller on the widest maps to save memory.
 */
export function stripHeight(width: number): number {
  return Math.max(MIN_ROWS, Math.min(MAX_ROWS, Math.floor(MAX_SAMPLES / width)));
}
