/** A complete scan in SCANS. */
export interface CompletedScan {
  bucket: string;
  key: string;
  etag: string;
  byteLength: number;
}
