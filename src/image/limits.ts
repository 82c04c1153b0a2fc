/** What a header may ask for before it is refused: checked before anything of that size is allocated. */
export interface ImageLimits {
  /** Decoded bytes of one `readRegion`. */
  regionBytes: number;
  /** Decoded bytes of one tile, strip or chunk, and of an image without tiles (PNG, JPEG). */
  tileBytes: number;
  /** Decoded tiles kept for the next region. */
  cacheBytes: number;
  /** Tiles kept as they are stored, where those of a region are read again for the next. */
  storedCacheBytes: number;
  /** Stored bytes of metadata read for one image (directories, offset tables, XML). */
  metadataBytes: number;
}

const MIB = 2 ** 20;

/**
 * 448 MiB lets a PNG of 12 500 × 12 500 pixels in RGB through, and a JPEG of 10 400, with which a run of a model stays
 * below 1 GB; a whole-slide tile is far below.
 */
export const DEFAULT_LIMITS: ImageLimits = {
  regionBytes: 2048 * MIB,
  tileBytes: 448 * MIB,
  cacheBytes: 64 * MIB,
  // One machine goes through an image in rows, and its decoded tiles suffice.
  storedCacheBytes: 0,
  metadataBytes: 256 * MIB,
};

/** Longest side of a level, in samples: what fits a signed 32-bit integer, as TIFF readers elsewhere assume. */
export const MAX_SIDE = 2 ** 31 - 1;
