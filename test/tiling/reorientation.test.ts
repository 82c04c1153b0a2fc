import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isOrientation, ORIENTATIONS, reorientationBetween } from "../../src/tiling/grid/orientation.ts";
import { product } from "../../src/tiling/grid/raster.ts";
import {
  copyReoriented,
  invertReorientation,
  isIdentityReorientation,
  reorderAxes,
  storedRect,
} from "../../src/tiling/grid/reorientation.ts";

const orientation = fc.constantFrom(...ORIENTATIONS);
const shape3 = fc.tuple(fc.nat(4), fc.nat(4), fc.nat(4)).map((sides) => sides.map((n) => n + 1));

/** The whole volume turned, sample by sample as the definition says. */
function turned(data: Uint16Array, shape: readonly number[], stored: string, wanted: string) {
  const turn = reorientationBetween(stored, wanted);
  const size = reorderAxes(shape, turn);
  const out = new Uint16Array(data.length);
  let put = 0;
  for (let z = 0; z < size[0]!; z++) {
    for (let y = 0; y < size[1]!; y++) {
      for (let x = 0; x < size[2]!; x++) {
        const at = [0, 0, 0];
        [z, y, x].forEach((i, a) => {
          at[turn.axes[a]!] = turn.flips[a] ? size[a]! - 1 - i : i;
        });
        out[put++] = data[(at[0]! * shape[1]! + at[1]!) * shape[2]! + at[2]!]!;
      }
    }
  }
  return { data: out, shape: size };
}

const numbered = (shape: readonly number[]) => Uint16Array.from({ length: product(shape) }, (_, i) => i);

describe("orientation codes", () => {
  it("are 48, and each names every axis of the patient once", () => {
    expect(new Set(ORIENTATIONS).size).toBe(48);
    expect(ORIENTATIONS.every(isOrientation)).toBe(true);
    for (const code of ["", "RA", "RRS", "RLS", "ras", "RASS", "XYZ"])
      expect(isOrientation(code)).toBe(false);
  });

  it("LPS to RAS flips x and y and keeps z", () => {
    expect(reorientationBetween("LPS", "RAS")).toEqual({ axes: [0, 1, 2], flips: [false, true, true] });
  });

  it("ASR to RAS: x comes from the last axis of the file, the slowest", () => {
    expect(reorientationBetween("ASR", "RAS")).toEqual({ axes: [1, 2, 0], flips: [false, false, false] });
  });
});

describe("a reoriented volume", () => {
  it("is copied box by box according to the definition, with channels", () => {
    fc.assert(
      fc.property(
        orientation,
        orientation,
        shape3,
        fc.infiniteStream(fc.nat()),
        fc.integer({ min: 1, max: 3 }),
        (stored, wanted, shape, rest, channels) => {
          const turn = reorientationBetween(stored, wanted);
          const data = numbered(shape);
          const whole = turned(data, shape, stored, wanted);
          const [o, s] = [0, 1].map(() => whole.shape.map(() => rest.next().value!)) as [number[], number[]];
          const origin = o.map((n, a) => n % whole.shape[a]!);
          const size = s.map((n, a) => 1 + (n % (whole.shape[a]! - origin[a]!)));
          const from = storedRect({ origin, size }, shape, turn);
          const deep = Uint16Array.from(
            { length: data.length * channels },
            (_, i) => data[Math.floor(i / channels)]! * channels + (i % channels),
          );
          const out = new Uint16Array(product(size) * channels);
          copyReoriented(
            { data: deep, shape, origin: from.origin },
            { data: out, shape: size, origin: [0, 0, 0] },
            size,
            turn,
            channels,
          );
          let at = 0;
          for (let z = 0; z < size[0]!; z++) {
            for (let y = 0; y < size[1]!; y++) {
              for (let x = 0; x < size[2]!; x++) {
                const index =
                  ((origin[0]! + z) * whole.shape[1]! + origin[1]! + y) * whole.shape[2]! + origin[2]! + x;
                for (let c = 0; c < channels; c++) expect(out[at++]).toBe(whole.data[index]! * channels + c);
              }
            }
          }
        },
      ),
    );
  });

  it("equals the stored volume after the inverse reorientation", () => {
    fc.assert(
      fc.property(orientation, orientation, shape3, (stored, wanted, shape) => {
        const data = numbered(shape);
        const there = turned(data, shape, stored, wanted);
        const back = turned(there.data, there.shape, wanted, stored);
        expect(back.shape).toEqual(shape);
        expect(back.data).toEqual(data);
        const turn = reorientationBetween(stored, wanted);
        expect(invertReorientation(turn)).toEqual(reorientationBetween(wanted, stored));
        expect(isIdentityReorientation(turn)).toBe(stored === wanted);
      }),
    );
  });
});
