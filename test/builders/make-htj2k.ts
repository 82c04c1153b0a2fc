/// <reference path="./openjph.d.ts" />
import createOpenJph from "@cornerstonejs/codec-openjph/wasmjs";

export interface MadeHtj2k {
  width: number;
  height: number;
  components: number;
  bits: number;
  signed: boolean;
}

/**
 * Encoded by openjph.
 * @param step of the quantizer, relative to the range of the samples; default: lossless
 */
export async function makeHtj2k(
  { width, height, components, bits, signed }: MadeHtj2k,
  samples: ArrayLike<number>,
  step?: number,
) {
  const module = await createOpenJph({ print() {}, printErr() {} });
  const encoder = new module.HTJ2KEncoder();
  const wide = bits > 8 ? Int16Array.from(samples) : Uint8Array.from(samples);
  const info = { width, height, bitsPerSample: bits, componentCount: components, isSigned: signed };
  encoder
    .getDecodedBuffer({ ...info, isUsingColorTransform: components === 3 })
    .set(new Uint8Array(wide.buffer));
  encoder.setQuality(step === undefined, step ?? 0);
  encoder.encode();
  return Uint8Array.from(encoder.getEncodedBuffer() as Uint8Array);
}
