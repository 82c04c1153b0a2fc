/** Limits on what a header may state, checked before anything of that size is allocated. */
export interface ImageLimits {
  /** Decoded bytes of one `readRegion`. */
  regionBytes: number;
  /** Decoded bytes of one tile, strip or chunk, and of an image without tiles (PNG, JPEG). */
  tileBytes: number;
  /** Decoded tiles that are cached for the next region. */
  cacheBytes: number;
  /** Stored tiles that are cached, where tiles of a region are read again for the next. */
  storedCacheBytes: number;
  /** Stored bytes of metadata read for one image (directories, offset tables, XML). */
  metadataBytes: number;
}

const MIB = 2 ** 20;

/**
 * 448 MiB allows a PNG of 12 500 × 12 500 pixels in RGB and a JPEG of 10 400, with which a run stays below 1 GB.
 * Tiles of slides are far smaller.
 */
export const DEFAULT_LIMITS: ImageLimits = {
  regionBytes: 2048 * MIB,
  tileBytes: 448 * MIB,
  cacheBytes: 64 * MIB,
  // One machine reads an image row by row; its cache of decoded tiles suffices.
  storedCacheBytes: 0,
  metadataBytes: 256 * MIB,
};

/** Longest side of a level, in samples: a signed 32-bit integer, as other TIFF readers assume. */
export const MAX_SIDE = 2 ** 31 - 1;
