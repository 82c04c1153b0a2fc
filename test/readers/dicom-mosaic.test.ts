import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { type Elements, makeDicom } from "../builders/make-dicom.ts";

interface MadeMosaic {
  count: number;
  rows: number;
  columns: number;
  /** As written in the private header; undefined leaves the tag out. */
  stated?: number;
  normal?: readonly number[];
  orientation?: readonly number[];
  position?: readonly number[];
  pixelSpacing?: readonly [number, number];
  between?: number;
  thickness?: number;
  csa?: 1 | 2 | "none" | "damaged";
  block?: number;
  instance?: number;
}

/** A private header of either kind: a tag that is passed over, then the two that are wanted. */
function makeCsa(kind: 1 | 2, tags: readonly (readonly [string, readonly number[]])[]): Uint8Array {
  const out: number[] = kind === 2 ? [...ascii("SV10"), 4, 3, 2, 1] : [];
  const int = (v: number) => out.push(v & 255, (v >> 8) & 255, (v >> 16) & 255, (v >> 24) & 255);
  int(tags.length + 1);
  int(77);
  // Of the first kind, all lengths are more by the items of the first tag.
  const first = 6;
  for (const [name, values] of [["EchoLinePosition", []] as const, ...tags]) {
    out.push(...ascii(name.padEnd(64, "\0")));
    int(values.length);
    out.push(...ascii("FD\0\0"));
    int(3);
    int(first);
    int(77);
    for (let i = 0; i < first; i++) {
      const text = i < values.length ? ascii(`${values[i]}\0`) : [];
      for (let x = 0; x < 4; x++) int(kind === 1 && x === 0 ? text.length + first : text.length);
      out.push(...text, ...new Array(-text.length & 3).fill(0));
    }
  }
  return Uint8Array.from(out);
}

const ascii = (text: string) => [...text].map((c) => c.charCodeAt(0));
const AXIAL = [1, 0, 0, 0, 1, 0];

function makeMosaic(made: MadeMosaic): Uint8Array {
  const { count, rows, columns, csa = 2, block = 0x10 } = made;
  const across = Math.ceil(Math.sqrt(count));
  const width = columns * across;
  const data = new Uint16Array(rows * across * width);
  for (let z = 0; z < count; z++) {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        data[(Math.floor(z / across) * rows + y) * width + (z % across) * columns + x] = sample(z, y, x);
      }
    }
  }
  const tags: [string, readonly number[]][] = [
    ["NumberOfImagesInMosaic", [made.stated ?? count]],
    ["SliceNormalVector", made.normal ?? [0, 0, 1]],
  ];
  const header =
    csa === 1 || csa === 2 ? makeCsa(csa, tags) : new Uint8Array(csa === "none" ? 0 : 40).fill(9);
  return makeDicom({
    elements: {
      524296: ["CS", "ORIGINAL\\PRIMARY\\M\\ND\\MOSAIC"],
      524384: ["CS", "MR"],
      2097166: ["UI", "1.2.3"],
      ...(made.thickness && { 1572944: ["DS", [made.thickness]] }),
      ...(made.between && { 1573000: ["DS", [made.between]] }),
      2097202: ["DS", made.position ?? [0, 0, 0]],
      2097207: ["DS", made.orientation ?? AXIAL],
      2621442: ["US", 1],
      2621444: ["CS", "MONOCHROME2"],
      2621456: ["US", rows * across],
      2621457: ["US", width],
      2621488: ["DS", made.pixelSpacing ?? [1, 1]],
      2621696: ["US", 16],
      2621697: ["US", 16],
      2621698: ["US", 15],
      2621699: ["US", 0],
      ...(csa !== "none" && {
        [0x00290000 + block]: ["LO", "SIEMENS CSA HEADER"],
        [0x00290010 + block * 256]: ["OB", header],
      }),
    } as Elements,
    pixels: new Uint8Array(data.buffer),
  });
}

const sample = (z: number, y: number, x: number) => (z * 7919 + y * 311 + x * 17 + 1) % 65536;
const open = (bytes: Uint8Array) => openImage(new MemoryStore({ "a.dcm": bytes }), "a.dcm");

const mosaic = fc.record({
  count: fc.integer({ min: 1, max: 17 }),
  rows: fc.integer({ min: 1, max: 5 }),
  columns: fc.integer({ min: 1, max: 5 }),
  turn: fc.double({ min: -3, max: 3, noNaN: true }),
  reversed: fc.boolean(),
  position: fc.tuple(...[0, 0, 0].map(() => fc.integer({ min: -200, max: 200 }))),
  pixelSpacing: fc.tuple(fc.constantFrom(1, 2.5), fc.constantFrom(0.5, 3)),
  spaced: fc.boolean(),
  csa: fc.constantFrom(1 as const, 2 as const),
  block: fc.constantFrom(0x10, 0x11, 0x12),
});

test("a Siemens mosaic is read as its volume, positioned as by nibabel and dcm2niix", async () => {
  await fc.assert(
    fc.asyncProperty(mosaic, async ({ turn, reversed, spaced, ...made }) => {
      // About the x axis of the patient, so that plane and normal are oblique.
      const [c, s] = [Math.cos(turn), Math.sin(turn)];
      const sign = reversed ? -1 : 1;
      const normal = [0, -s * sign, c * sign];
      const orientation = [1, 0, 0, 0, c, s];
      const image = await open(
        makeMosaic({
          ...made,
          normal,
          orientation,
          ...(spaced ? { between: 4, thickness: 3 } : { thickness: 4 }),
        }),
      );
      const { count, rows, columns, position, pixelSpacing } = made;
      expect([image.axes, image.levels[0]!.shape]).toEqual(["zyx", [count, rows, columns]]);
      expect(image.spacing!.values).toEqual([4, ...pixelSpacing]);
      expect(image.warnings!.length).toBe(spaced ? 0 : 1);
      const { data } = await image.readRegion(0, { origin: [0, 0, 0], size: [count, rows, columns] });
      let i = 0;
      for (let z = 0; z < count; z++)
        for (let y = 0; y < rows; y++)
          for (let x = 0; x < columns; x++) expect(data[i++]).toBe(sample(z, y, x));
      const across = Math.ceil(Math.sqrt(count));
      const inX = (pixelSpacing[1]! * columns * (across - 1)) / 2;
      const inY = (pixelSpacing[0]! * rows * (across - 1)) / 2;
      const first = [position[0]! + inX, position[1]! + c * inY, position[2]! + s * inY];
      const steps = [
        [pixelSpacing[1]!, 0, 0],
        [0, c * pixelSpacing[0]!, s * pixelSpacing[0]!],
        normal.map((v) => v * 4),
      ];
      for (let axis = 0; axis < 3; axis++) {
        const turned = axis < 2 ? -1 : 1;
        const wanted = [...steps, first].map((column) => column[axis]! * turned);
        for (const [j, value] of wanted.entries()) expect(image.affine![axis]![j]).toBeCloseTo(value, 4);
      }
    }),
    { numRuns: 80 },
  );
});

test.each<[string, Partial<MadeMosaic>, RegExp]>([
  [
    "has lost its private header",
    { csa: "none" },
    /a mosaic of several slices .* state their number; .*dcm2niix/,
  ],
  ["has a damaged one", { csa: "damaged" }, /state their number/],
  [
    "states more slices than fit",
    { stated: 1_000_000 },
    /states 1000000 slices, which 9 × 9 pixels do not hold/,
  ],
  ["states none", { stated: 0 }, /states 0 slices/],
  ["tells no direction", { normal: [0, 0, 0] }, /direction in which they follow/],
  ["tells another one", { normal: [0, 1, 0] }, /not that of their plane/],
  ["tells no distance", { between: 0 }, /does not state the distance of its slices/],
])("a Siemens mosaic that %s is rejected", async (_, change, reason) => {
  const made = { count: 7, rows: 3, columns: 3, between: 2, ...change };
  await expect(open(makeMosaic(made))).rejects.toThrow(reason);
});

test("several mosaics are several volumes, which is rejected", async () => {
  const made = makeMosaic({ count: 4, rows: 2, columns: 2, between: 2 });
  const other = made.slice();
  other[other.length - 2]! ^= 1;
  const store = new MemoryStore({ "scan/0": made, "scan/1": other });
  await expect(openImage(store, "scan")).rejects.toThrow(/a series of 2 volumes, each a mosaic in one file/);
});

const real = new URL("../../../shared/cases/readers/06-IM-0001-0001.dcm", import.meta.url);
test.skipIf(!existsSync(real))("a real mosaic has nibabel's position", async () => {
  const image = await open(new Uint8Array(await readFile(real)));
  expect([image.levels[0]!.shape, image.orientation]).toEqual([[36, 64, 64], "LPS"]);
  const wanted = [
    [-3.203125, 0, 0, 102.5],
    [0, -3.17856324, -0.44496532, 128.87137606],
    [0, -0.39591099, 3.572395, -48.63710763],
  ];
  for (const [r, row] of wanted.entries())
    for (const [c, value] of row.entries()) expect(image.affine![r]![c]).toBeCloseTo(value, 6);
});
