/** Limits of the job service for sources of many objects; clients check them before they send. */

/** Objects of a DICOM series or slide: every isolate reads the head of each and may make 10 000 requests. */
export const MAX_PREFIX_OBJECTS = 4000;
/** Files of an uploaded folder, such as the chunks of a large Zarr. */
export const MAX_FOLDER_FILES = 100_000;
/** Size of one file of a folder, sent in one request: Workers accept at most 100 MB on the smallest plan. */
export const MAX_FOLDER_FILE_BYTES = 60 * 2 ** 20;
