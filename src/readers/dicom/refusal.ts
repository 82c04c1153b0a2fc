/** Why a DICOM file is not read: the message completes "<file> cannot be read: …". Tells nothing of the patient. */
export class UnsupportedDicomError extends Error {}
