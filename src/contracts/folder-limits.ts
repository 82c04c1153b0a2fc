/** What the job service takes of sources that are many objects; clients refuse more before they send it. */

/** Objects of a DICOM series or slide: the head of each is read by every isolate, which may make 10 000 requests. */
export const MAX_PREFIX_OBJECTS = 4000;
/** Files of a folder that is sent: chunks of a large Zarr. */
export const MAX_FOLDER_FILES = 100_000;
/** A file of a folder is sent whole, in one request: a Worker on the smallest plan takes no more than 100 MB. */
export const MAX_FOLDER_FILE_BYTES = 60 * 2 ** 20;
