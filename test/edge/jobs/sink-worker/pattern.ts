/** Bytes that depend on their offset. */
export function pattern(byteLength: number): Uint8Array {
  return Uint8Array.from({ length: byteLength }, (_, i) => (i * 2_654_435_761) >>> 24);
}
