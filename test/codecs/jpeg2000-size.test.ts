import fc from "fast-check";
import { expect, test } from "vitest";
import { parseJpeg2000Size } from "../../src/codecs/jpeg2000-size.ts";
import { ImageFormatError } from "../../src/image/errors.ts";

/** SOC and SIZ (ITU-T T.800, A.5.1): 640 × 480 pixels in tiles of 256. */
function sizeMarker(components: number): Uint8Array {
  const bytes = new Uint8Array(6 + 36 + 3 * components);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xff4fff51);
  view.setUint16(4, 38 + 3 * components);
  [640 + 3, 480 + 5, 3, 5, 256, 256, 3, 5].forEach((value, i) => {
    view.setUint32(8 + 4 * i, value);
  });
  view.setUint16(40, components);
  for (let c = 0; c < components; c++) bytes.set([7, 1, 1], 42 + 3 * c);
  return bytes;
}

const made = fc.record({ front: fc.nat(60), components: fc.integer({ min: 1, max: 4 }), behind: fc.nat(60) });
const fill = (length: number) => new Uint8Array(length).fill(0x51);

test("finds the size wherever the codestream lies, in a JP2 file too", () => {
  fc.assert(
    fc.property(made, ({ front, components, behind }) => {
      const size = parseJpeg2000Size(
        Uint8Array.from([...fill(front), ...sizeMarker(components), ...fill(behind)]),
      );
      expect(size).toEqual({ width: 640, height: 480, components, tiles: 6, subsampled: false });
    }),
  );
});

test("is rejected with a message wherever it is cut", () => {
  fc.assert(
    fc.property(made, ({ front, components }) => {
      const whole = Uint8Array.from([...fill(front), ...sizeMarker(components)]);
      for (let end = 0; end < whole.length; end++) {
        expect(() => parseJpeg2000Size(whole.subarray(0, end))).toThrow(
          new ImageFormatError("a JPEG 2000 tile is damaged: its size marker is missing"),
        );
      }
    }),
    { numRuns: 30 },
  );
});
