/** A scan that lies in SCANS, whole. */
export interface CompletedScan {
  bucket: string;
  key: string;
  etag: string;
  byteLength: number;
}
