/** `tilewright/readers`: images of every format, from any store. */
export { type CodecModuleLoader, type CodecName, setCodecModuleLoader } from "../codecs/compiled-codecs.ts";
export { describeImage, type ImageReport } from "../image/describe.ts";
export { ImageFormatError, ImageNotFoundError } from "../image/errors.ts";
export type { Channel, ImageSource, Level, PagesAs, Spacing } from "../image/image-source.ts";
export type { ImageLimits } from "../image/limits.ts";
export { type OpenOptions, openImage as openStoredImage } from "../readers/open-image.ts";
export { type BlobLike, BlobStore } from "../storage/blob-store.ts";
export { HttpStore, type HttpStoreOptions } from "../storage/http-store.ts";
export { MemoryStore } from "../storage/memory-store.ts";
export type { ObjectInfo, ObjectStore, StoredObject } from "../storage/object-store.ts";
export { ZipStore } from "../storage/zip-store.ts";
export type { Raster, Rect } from "../tiling/grid/raster.ts";
