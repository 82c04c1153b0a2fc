/**
 * Internal errors of the DICOM reader. Opening a file turns them into an `ImageFormatError` that names the file.
 * Their messages never quote values of the file, which may identify a patient.
 */

/** The file is of a kind that is not read; the message completes "<file> cannot be read: …". */
export class UnsupportedDicomError extends Error {
  override readonly name = "UnsupportedDicomError";
}

/** The bytes end inside an element: the caller reads more of the file and parses again. */
export class NeedMoreBytesError extends Error {
  override readonly name = "NeedMoreBytesError";
}
