import fc from "fast-check";
import { zipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { describeImage } from "../../src/image/describe.ts";
import { ImageFormatError } from "../../src/image/errors.ts";
import { type OpenOptions, openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { type Elements, encodeRle, makeDicom, SYNTAX } from "../builders/make-dicom.ts";

const PATIENT = "Jane^Quux^Secret";
const PATIENT_ID = "ID-4711-SECRET";
const SERIES = "1.2.826.0.1.99.4711";
const CT = "1.2.840.10008.5.1.4.1.1.2";

type Vector = [number, number, number];
const cross = (a: Vector, b: Vector): Vector => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

interface MadeSlice {
  rows?: number;
  columns?: number;
  data?: Int16Array;
  position?: readonly number[];
  orientation?: readonly number[];
  pixelSpacing?: readonly number[];
  syntax?: string;
  rescale?: readonly [number, number];
  series?: string;
  extra?: Elements;
  undefinedLengths?: boolean;
}

function elementsOf(slice: MadeSlice): Elements {
  const { rows = 3, columns = 4 } = slice;
  return {
    524310: ["UI", CT],
    524384: ["CS", "CT"],
    528446: ["LO", `${PATIENT} of Monday`],
    1048592: ["PN", PATIENT],
    1048608: ["LO", PATIENT_ID],
    // A private sequence with an icon of its own: passed over.
    593936: ["SQ", [{ 2621456: ["US", 99], 2145386512: ["OW", new Uint8Array(10)] }]],
    1572944: ["DS", [3]],
    1573000: ["DS", [7]],
    2097166: ["UI", slice.series ?? SERIES],
    2097202: ["DS", slice.position ?? [0, 0, 0]],
    2097207: ["DS", slice.orientation ?? [1, 0, 0, 0, 1, 0]],
    2621442: ["US", 1],
    2621444: ["CS", "MONOCHROME2"],
    2621456: ["US", rows],
    2621457: ["US", columns],
    2621488: ["DS", slice.pixelSpacing ?? [1, 1]],
    2621696: ["US", 16],
    2621697: ["US", 16],
    2621698: ["US", 15],
    2621699: ["US", 1],
    ...(slice.rescale && { 2625618: ["DS", slice.rescale[1]], 2625619: ["DS", slice.rescale[0]] }),
    ...slice.extra,
  } as Elements;
}

function makeSlice(slice: MadeSlice): Uint8Array {
  const { rows = 3, columns = 4, syntax = SYNTAX.explicit } = slice;
  const data = slice.data ?? new Int16Array(rows * columns);
  const bytes = new Uint8Array(data.length * 2);
  const view = new DataView(bytes.buffer);
  for (const [i, v] of data.entries()) view.setInt16(2 * i, v, syntax !== SYNTAX.bigEndian);
  return makeDicom({
    syntax,
    elements: elementsOf(slice),
    undefinedLengths: slice.undefinedLengths,
    pixels: syntax === SYNTAX.rle ? { frames: [[encodeRle(bytes, 2, 1)]], table: "basic" } : bytes,
  });
}

const directory = (slices: readonly Uint8Array[], folder = "scan") =>
  Object.fromEntries(slices.map((bytes, i) => [`${folder}/${String(i).padStart(4, "0")}`, bytes]));

const open = (objects: Record<string, Uint8Array>, options?: OpenOptions) =>
  openImage(new MemoryStore(objects), "scan", options);

async function refusal(opening: Promise<unknown>): Promise<string> {
  const error = await opening.then(
    () => undefined,
    (e) => e,
  );
  expect(error).toBeInstanceOf(ImageFormatError);
  expect(error.message).toMatch(/^scan[^\n]*$/);
  expect(error.message).not.toMatch(/secret|quux|4711/i);
  return error.message;
}

const angle = fc.double({ min: -3, max: 3, noNaN: true });
const length = fc.double({ min: 0.3, max: 5, noNaN: true }).map((v) => Number(v.toFixed(4)));
const stack = fc.record({
  count: fc.integer({ min: 2, max: 9 }),
  rows: fc.integer({ min: 1, max: 6 }),
  columns: fc.integer({ min: 1, max: 6 }),
  turns: fc.tuple(angle, angle, angle),
  origin: fc.tuple(angle, angle, angle),
  spacing: fc.tuple(length, length, length),
  order: fc.infiniteStream(fc.nat()),
  syntax: fc.constantFrom(...Object.values(SYNTAX).slice(0, 5)),
  undefinedLengths: fc.boolean(),
  rescale: fc.constantFrom(undefined, [1, 0], [1, -1024], [2, 5], [0.5, 0.25]) as fc.Arbitrary<
    readonly [number, number] | undefined
  >,
});

/** Rotation about x, then y, then z, as the columns of a matrix. */
function turned([a, b, c]: readonly [number, number, number]): [Vector, Vector] {
  const turn = ([x, y, z]: Vector): Vector => {
    const y1 = y * Math.cos(a) - z * Math.sin(a);
    const z1 = y * Math.sin(a) + z * Math.cos(a);
    const x2 = x * Math.cos(b) + z1 * Math.sin(b);
    const z2 = -x * Math.sin(b) + z1 * Math.cos(b);
    return [x2 * Math.cos(c) - y1 * Math.sin(c), x2 * Math.sin(c) + y1 * Math.cos(c), z2];
  };
  return [turn([1, 0, 0]), turn([0, 1, 0])];
}

describe("a DICOM series", () => {
  test("is the same stack for any order, encoding, direction and scale of its files", async () => {
    await fc.assert(
      fc.asyncProperty(stack, async (made) => {
        const { count, rows, columns, spacing, rescale = [1, 0] } = made;
        const [x, y] = turned(made.turns);
        const normal = cross(x, y);
        const slices = Array.from({ length: count }, (_, z) => ({
          ...made,
          data: Int16Array.from(
            { length: rows * columns },
            (_, i) => ((z * 7919 + i * 104729) % 65536) - 32768,
          ),
          position: made.origin.map((v, axis) => v * 50 + normal[axis]! * spacing[0] * z),
          orientation: [...x, ...y],
          pixelSpacing: [spacing[1], spacing[2]],
        }));
        const keys = [...made.order.take(count)];
        const files = slices.map(makeSlice);
        const shuffled = files.map((_, i) => i).sort((a, b) => keys[a]! - keys[b]!);
        const image = await open(directory(shuffled.map((i) => files[i]!)));

        expect([image.axes, image.levels[0]!.shape]).toEqual(["zyx", [count, rows, columns]]);
        for (const [i, value] of image.spacing!.values.entries()) expect(value).toBeCloseTo(spacing[i]!, 3);
        const { data } = await image.readRegion(0, { origin: [0, 0, 0], size: [count, rows, columns] });
        const wanted = slices.flatMap((s) => [...s.data].map((v) => v * rescale[0] + rescale[1]));
        expect([...data]).toEqual(wanted);
        // The centre of any voxel: along the rows, the columns and the normal, LPS to RAS.
        const at = [columns - 1, rows - 1, count - 1];
        for (let axis = 0; axis < 3; axis++) {
          const lps =
            made.origin[axis]! * 50 +
            x[axis]! * spacing[2] * at[0]! +
            y[axis]! * spacing[1] * at[1]! +
            normal[axis]! * spacing[0] * at[2]!;
          const row = image.affine![axis]!;
          const ras = row[0]! * at[0]! + row[1]! * at[1]! + row[2]! * at[2]! + row[3]!;
          expect(ras).toBeCloseTo(axis < 2 ? -lps : lps, 2);
        }
        await image.close();
      }),
      { numRuns: 60 },
    );
  });

  test("has the narrowest type that holds its values", async () => {
    const twelve = { 2621697: ["US", 12], 2621698: ["US", 11], 2621699: ["US", 0] } as Elements;
    const slices = (rescale: readonly [number, number]) =>
      directory([0, 1].map((z) => makeSlice({ position: [0, 0, z], rescale, extra: twelve })));
    expect((await open(slices([1, -1024]))).dtype).toBe("int16");
    expect((await open(slices([1, 0]))).dtype).toBe("uint16");
    expect((await open(slices([0.1, 0]))).dtype).toBe("float32");
    expect((await open(slices([100, 0]))).dtype).toBe("int32");
  });

  test("may have a scale for each slice", async () => {
    const data = Int16Array.from({ length: 12 }, (_, i) => i);
    const image = await open(
      directory([0, 1].map((z) => makeSlice({ position: [0, 0, z], data, rescale: [z + 0.5, z] }))),
    );
    const region = await image.readRegion(0, { origin: [0, 0, 0], size: [2, 1, 3] });
    expect([...region.data]).toEqual([0, 0.5, 1, 1, 2.5, 4]);
  });

  const line = (positions: readonly number[], more: MadeSlice = {}) =>
    directory(positions.map((z) => makeSlice({ position: [0, 0, z], ...more })));

  test.each<[string, Record<string, Uint8Array>, RegExp]>([
    [
      "a slice is missing",
      line([0, 2, 4, 8, 10]),
      /slices are missing: one at 6\.00 mm; copy the whole series/,
    ],
    ["many are", line([0, 2, 4, 12, 14]), /missing: 3 at 6\.00 mm to 10\.00 mm/],
    [
      "two lie at one place and differ",
      directory(
        [0, 2, 4, 4, 6].map((z, i) => makeSlice({ position: [0, 0, z], data: new Int16Array(12).fill(i) })),
      ),
      /two of its slices lie at 4\.00 mm/,
    ],
    [
      "they are uneven",
      line([0, 2, 4, 6.5, 8.5]),
      /not evenly spaced: 2\.500 mm apart at 4\.00 mm and 2\.000 mm elsewhere \(5 % are tolerated\)/,
    ],
    [
      "the gantry was tilted",
      directory([0, 1, 2, 3].map((z) => makeSlice({ position: [0, z * 0.5, z * 2] }))),
      /shifted against each other \(gantry tilt of 14\.0°\)/,
    ],
    [
      "they lie in different directions",
      directory([makeSlice({}), makeSlice({ position: [0, 0, 1], orientation: [1, 0, 0, 0, 0, 1] })]),
      /different directions/,
    ],
    [
      "their pixels differ",
      directory([makeSlice({}), makeSlice({ position: [0, 0, 1], pixelSpacing: [1, 2] })]),
      /pixels of different sizes/,
    ],
    [
      "their sizes differ",
      directory([makeSlice({}), makeSlice({ position: [0, 0, 1], rows: 5 })]),
      /differ in size or sample type/,
    ],
    [
      "one tells no place",
      directory([makeSlice({}), makeSlice({ extra: { 2097202: ["DS", ""] } })]),
      /does not state its position/,
    ],
    [
      "directions are at no right angle",
      line([0, 1], { orientation: [1, 0, 0, 1, 0, 0] }),
      /not at right angles/,
    ],
    ["values come from a table", line([0, 1], { extra: { 2633728: ["SQ", [{}]] } }), /look-up table/],
    ["a scale is none", line([0, 1], { extra: { 2625619: ["DS", "0"] } }), /scaled by an invalid number/],
  ])("is rejected where %s", async (_, objects, reason) => {
    expect(await refusal(open(objects))).toMatch(reason);
  });

  test("accepts rounded distances", async () => {
    const image = await open(line([0, 0.62, 1.25, 1.87, 2.5]));
    expect(image.spacing!.values[0]).toBeCloseTo(0.625, 6);
  });

  test("is chosen among several; other objects do not count", async () => {
    const objects = {
      ...line([0, 1, 2]),
      ...directory(
        [0, 2].map((z) => makeSlice({ position: [0, 0, z], series: "1.2.3" })),
        "scan/other",
      ),
      "scan/notes.txt": new TextEncoder().encode("hello".repeat(100)),
      "scan/report": makeDicom({ elements: { 524384: ["CS", "SR"], 1048592: ["PN", PATIENT] } }),
      "scan/labels": makeDicom({
        elements: { 524310: ["UI", "1.2.840.10008.5.1.4.1.1.66.4"], 2621456: ["US", 1] },
        pixels: new Uint8Array(2),
      }),
    };
    expect(await refusal(open(objects))).toBe(
      "scan holds 2 DICOM series: 1 (CT, 3 slices of 4 × 3), 2 (CT, 2 slices of 4 × 3); choose one by its number (--series)",
    );
    expect((await open(objects, { series: 1 })).levels[0]!.shape).toEqual([3, 3, 4]);
    expect((await open(objects, { series: 2 })).spacing!.values[0]).toBe(2);
    expect(await refusal(open(objects, { series: 3 }))).toMatch(
      /holds 2 DICOM series, and number 3 is wanted/,
    );
    await expect(open(objects, { series: 0 })).rejects.toThrow(RangeError);
    const { "scan/report": report, "scan/labels": labels } = objects;
    expect(await refusal(open({ "scan/a": report!, "scan/b": labels! }))).toMatch(
      /none is an image \(a DICOM object of kind SR, a segmentation\)/,
    );
  });

  const other = (change: MadeSlice = {}) => makeSlice({ series: "1.2.3", ...change });
  test.each<[string, Uint8Array, RegExp]>([
    ["is cut in its header", makeSlice({}).slice(0, 400), /is damaged: it ends inside an element/],
    ["is cut in its samples", other().slice(0, -3), /is cut short: it ends before its 1 frames/],
    ["is cut behind its preamble", makeSlice({}).slice(0, 140), /is damaged: it ends inside an element/],
    ["is a film", other({ extra: { 2621448: ["IS", "2"] } }), /a film of 2 frames/],
    ["is damaged", makeSlice({}).fill(255, 140, 300), /cannot be read|is damaged/],
    [
      "is stored as nobody reads it",
      makeDicom({ syntax: "1.2.3", elements: elementsOf({}), pixels: new Uint8Array(24) }),
      /the transfer syntax 1\.2\.3/,
    ],
  ])("is read beside one file that %s, which is reported", async (_, bad, reason) => {
    for (const name of ["a", "z"]) {
      const objects = { ...line([0, 1, 2]), [`scan/${name}`]: bad };
      for (const made of [objects, { scan: zipSync(objects) }]) {
        for (const series of [undefined, 1]) {
          const image = await open(made, { series });
          expect(image.levels[0]!.shape).toEqual([3, 3, 4]);
          expect(image.warnings).toHaveLength(1);
          expect(image.warnings![0]).toMatch(reason);
          expect(image.warnings![0]).toMatch(new RegExp(`scan/${name} `));
        }
      }
    }
  });

  test("must be chosen when there are several, or when an unreadable one is as large", async () => {
    const broken = makeSlice({}).slice(0, 400);
    const few = { ...line([0, 1]), "scan/x": broken, "scan/y": broken, "scan/z": broken };
    expect(await refusal(open(few))).toBe(
      "scan holds 1 DICOM series that can be read: 1 (CT, 2 slices of 4 × 3); choose one by its number (--series); not read: scan/x is damaged: it ends inside an element; copy the file again; scan/y is damaged: it ends inside an element; copy the file again; scan/z is damaged: it ends inside an element; copy the file again",
    );
    expect((await open(few, { series: 1 })).warnings).toHaveLength(3);
    const two = { ...line([0, 1]), "scan/o": other(), ...directory(new Array(9).fill(broken), "scan/bad") };
    expect(await refusal(open(two))).toMatch(
      /2 DICOM series that can be read: 1 \(CT, 2 slices.*, 2 \(CT, 1 slice .*; not read: .*; 6 more files cannot be read$/,
    );
    expect((await open(two, { series: 2 })).levels[0]!.shape).toEqual([3, 4]);
    expect(await refusal(open({ "scan/0": broken, "scan/1": broken }))).toMatch(/^scan\/0 is damaged/);
  });

  test("names the damaged slice that it lacks", async () => {
    const objects = line([0, 1, 2, 3, 4]);
    objects["scan/0002"] = objects["scan/0002"]!.slice(0, 400);
    expect(await refusal(open(objects))).toMatch(
      /slices are missing: one at 2\.00 mm; .*; not read: scan\/0002 is damaged/,
    );
  });

  test("uses duplicates of a slice once, and says so", async () => {
    const slice = (z: number, uid: string, value = z) =>
      makeSlice({
        position: [0, 0, z],
        data: new Int16Array(12).fill(value),
        extra: { 524312: ["UI", uid] },
      });
    const objects = {
      ...directory([0, 1, 2].map((z) => slice(z, `1.${z}`))),
      // The same object, coded again or not; and an anonymised copy with a name of its own.
      "scan/copy/a": slice(1, "1.1"),
      "scan/copy/b": slice(2, "9.9"),
    };
    const image = await open(objects);
    expect([...(await image.readRegion(0, { origin: [0, 0, 0], size: [3, 1, 1] })).data]).toEqual([0, 1, 2]);
    expect(image.warnings).toEqual([
      "some slices are duplicates and are used once; skipped: scan/copy/a, scan/copy/b",
    ]);
    const differing = { ...objects, "scan/copy/c": slice(2, "9.8", 7) };
    expect(await refusal(open(differing))).toMatch(/two of its slices lie at 2\.00 mm/);
    // One object's name for all: no copies.
    const unnamed = directory([0, 1, 2].map((z) => slice(z, "1.1")));
    expect((await open(unnamed)).levels[0]!.shape[0]).toBe(3);
    const twice = directory(new Array(2).fill(slice(0, "")));
    expect((await open(twice)).levels[0]!.shape).toEqual([3, 4]);
  });

  test("changes its etag when one of its slices is replaced", async () => {
    const objects = line([0, 1, 2]);
    const store = new MemoryStore(objects);
    const before = (await openImage(store, "scan")).etag;
    expect((await openImage(store, "scan")).etag).toBe(before);
    await store.put("scan/0001", objects["scan/0001"]!);
    expect((await openImage(store, "scan")).etag).not.toBe(before);
  });

  test("gives the head of each slice, for writers that return to its grid", async () => {
    const image = await open(line([5, 3, 4]));
    const head = await image.headers!.read(0);
    const whole = makeSlice({ position: [0, 0, 3] });
    expect(head).toEqual(whole.subarray(0, head.length));
    expect(whole.length - head.length).toBe(12 + 24);
    expect(image.headers!.count).toBe(3);
  });
});

describe("a zip archive", () => {
  const objects = directory(
    [0, 1, 2].map((z) => makeSlice({ position: [0, 0, z], data: new Int16Array(12).fill(z) })),
  );

  test.each([0, 6] as const)("at compression %i is read like its directory", async (level) => {
    const zip = zipSync(
      { ...objects, "scan/": new Uint8Array(0), "readme.txt": new Uint8Array(500) },
      { level },
    );
    const image = await open({ scan: zip });
    const { data } = await image.readRegion(0, { origin: [0, 0, 0], size: [3, 1, 1] });
    expect([[...data], image.levels[0]!.shape]).toEqual([
      [0, 1, 2],
      [3, 3, 4],
    ]);
  });

  test("that is damaged, or holds no DICOM, is rejected", async () => {
    const zip = zipSync(objects);
    expect(await refusal(open({ scan: zip.subarray(0, zip.length - 40) }))).toMatch(
      /damaged or incomplete zip/,
    );
    expect(await refusal(open({ scan: zipSync({ "a.txt": new Uint8Array(300) }) }))).toMatch(
      /without DICOM files/,
    );
  });

  const large = makeSlice({ rows: 1024, columns: 512, data: new Int16Array(1024 * 512).fill(7) });

  test("unpacks only the head of a file until samples are read", async () => {
    const zip = zipSync({ "scan/0": large });
    const image = await open({ scan: zip }, { limits: { tileBytes: 1 << 20 } });
    expect(image.levels[0]!.shape).toEqual([1024, 512]);
    const region = image.readRegion(0, { origin: [0, 0], size: [1, 1] });
    expect(await refusal(region)).toMatch(/over the limit of 1048576; unpack the archive first/);
    const whole = await open({ scan: zip });
    expect([...(await whole.readRegion(0, { origin: [1023, 510], size: [1, 2] })).data]).toEqual([7, 7]);
    // A bomb beside the slices is looked into, and no more.
    const beside = await open({ scan: zipSync({ ...objects, "scan/bomb": new Uint8Array(64 << 20) }) });
    expect([beside.levels[0]!.shape, beside.warnings]).toEqual([[3, 3, 4], []]);
  });

  test("does not unpack more than it states", async () => {
    const bomb = zipSync({ "scan/0": large });
    const lying = bomb.slice();
    const view = new DataView(lying.buffer);
    for (let at = 0; at + 46 < lying.length; at++)
      if (view.getUint32(at, true) === 0x02014b50) view.setUint32(at + 24, 1000, true);
    expect(await refusal(open({ scan: lying }))).toMatch(/damaged in its archive|cut short/);
  });

  test("whose entries overlap is rejected", async () => {
    const zip = zipSync(Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`scan/${i}`, large])));
    const view = new DataView(zip.buffer);
    let first = -1;
    let stored = 0;
    for (let at = 0; at + 46 < zip.length; at++) {
      if (view.getUint32(at, true) !== 0x02014b50) continue;
      if (first < 0) {
        first = at;
        stored = view.getUint32(at + 20, true);
      }
      view.setUint32(at + 42, 0, true);
    }
    // One file's data, and a directory that names it forty times.
    const shared = new Uint8Array(30 + "scan/0".length + stored + zip.length - first);
    shared.set(zip.subarray(0, 30 + "scan/0".length + stored));
    shared.set(zip.subarray(first), shared.length - (zip.length - first));
    new DataView(shared.buffer).setUint32(shared.length - 6, shared.length - (zip.length - first), true);
    expect(await refusal(open({ scan: shared }))).toMatch(/damaged or incomplete zip file/);
  });

  test("or a directory with line breaks in names is reported in one line", async () => {
    for (const end of ["\n", "\r", "\u0085", "\u2028", "\u202e", "\u001b[2J"]) {
      const bad = { [`scan/x${end}y`]: makeSlice({}).slice(0, 400) };
      for (const made of [bad, { scan: zipSync(bad) }])
        expect(await refusal(open(made))).toMatch(/^scan(\/scan)?\/x\ufffd(\[2J)?y is damaged/);
    }
  });

  test("with any flipped bytes is read or rejected in one sentence", async () => {
    const zip = zipSync(objects);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(zip.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        async (flips) => {
          const bytes = zip.slice();
          for (const [at, value] of flips) bytes[at] = value;
          await readOrRefuse({ scan: bytes });
        },
      ),
      { numRuns: 200 },
    );
  });
});

async function readOrRefuse(objects: Record<string, Uint8Array>): Promise<void> {
  try {
    const image = await open(objects, { limits: { tileBytes: 2 ** 20, regionBytes: 2 ** 22 } });
    const { shape } = image.levels[0]!;
    await image.readRegion(0, { origin: shape.map(() => 0), size: shape.map((n) => Math.min(n, 16)) });
    await image.close();
  } catch (error) {
    expect(error).toBeInstanceOf(ImageFormatError);
    expect((error as Error).message).toMatch(/^scan[^\n]*$/);
    expect((error as Error).message).not.toMatch(/secret|quux|4711/i);
  }
}

describe("a multi-frame volume", () => {
  const frames = [2, 0, 1];
  const shared = {
    2658576: ["SQ", [{ 2621488: ["DS", [0.5, 0.25]] }]],
    2134294: ["SQ", [{ 2097207: ["DS", [1, 0, 0, 0, 1, 0]] }]],
    2658629: ["SQ", [{ 2625618: ["DS", [-1]], 2625619: ["DS", [2]] }]],
  } as Elements;
  const base = elementsOf({});
  const { 0x00200032: _p, 0x00200037: _o, 0x00280030: _s, ...rest } = base;
  const enhanced = (count: number, undefinedLengths: boolean) =>
    makeDicom({
      undefinedLengths,
      elements: {
        ...rest,
        2621448: ["IS", String(count)],
        1375769129: ["SQ", [shared]],
        1375769136: [
          "SQ",
          frames.map((z) => ({ 2134291: ["SQ", [{ 2097202: ["DS", [0, 0, 3 * z]] }]] }) as Elements),
        ],
      },
      pixels: new Uint8Array(Int16Array.from({ length: 36 }, (_, i) => frames[Math.floor(i / 12)]!).buffer),
    });

  test.each([true, false])(
    "is sorted by the positions of its frames (undefined lengths: %s)",
    async (undefinedLengths) => {
      const image = await open({ scan: enhanced(3, undefinedLengths) });
      expect([image.axes, image.spacing!.values]).toEqual(["zyx", [3, 0.5, 0.25]]);
      const { data } = await image.readRegion(0, { origin: [0, 0, 0], size: [3, 1, 1] });
      expect([...data]).toEqual([-1, 1, 3]);
    },
  );

  test("is read when a program that did not know its groups has copied them", async () => {
    const made = makeDicom({ syntax: SYNTAX.implicit, elements: { 1375769129: ["SQ", [shared]] } });
    // Behind the preamble, the group length, the transfer syntax and the sequence's own header.
    const content = made.subarray(132 + 12 + 26 + 8);
    const known = enhanced(3, false);
    const unknown = makeDicom({
      elements: {
        ...rest,
        2621448: ["IS", "3"],
        1375769129: ["UN", content],
        1375769136: [
          "SQ",
          frames.map((z) => ({ 2134291: ["SQ", [{ 2097202: ["DS", [0, 0, 3 * z]] }]] }) as Elements),
        ],
      } as Elements,
      pixels: known.subarray(known.length - 72),
    });
    const image = await open({ scan: unknown });
    expect(image.spacing!.values).toEqual([3, 0.5, 0.25]);
    expect([...(await image.readRegion(0, { origin: [0, 0, 0], size: [3, 1, 1] })).data]).toEqual([-1, 1, 3]);
    expect(image.details!.spacingBetweenSlices).toBe("7 mm stated, positions used");
  });

  test("with a wrong number of frames, or a film, is rejected", async () => {
    expect(await refusal(open({ scan: enhanced(4, false) }))).toMatch(
      /describes 3 frames where its header announces 4/,
    );
    const film = makeDicom({ elements: { ...rest, 2621448: ["IS", "3"] }, pixels: new Uint8Array(72) });
    expect(await refusal(open({ scan: film }))).toMatch(/a film of 3 frames/);
  });
});

describe("nothing that identifies a patient", () => {
  test("is in the description of an image, or in the error of a damaged one", async () => {
    const objects = directory([0, 1].map((z) => makeSlice({ position: [0, 0, z] })));
    const report = JSON.stringify(describeImage(await open(objects)));
    expect(report).toContain('"modality":"CT"');
    expect(report).not.toMatch(/secret|quux|4711/i);
    // Texts where codes belong.
    const stray = makeSlice({ extra: { 524384: ["CS", PATIENT], 2621444: ["CS", PATIENT] } });
    expect(await refusal(open({ scan: stray }))).toMatch(/does not state what its samples mean/);
    const syntax = makeDicom({ syntax: PATIENT, elements: {} });
    expect(await refusal(open({ scan: syntax }))).toMatch(/an unknown encoding/);
  });

  test("however a file is damaged", async () => {
    const files = [
      makeSlice({}),
      makeSlice({ syntax: SYNTAX.implicit, undefinedLengths: true }),
      makeSlice({ syntax: SYNTAX.rle }),
      makeSlice({ syntax: SYNTAX.deflated }),
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        fc.option(fc.nat(800), { nil: undefined }),
        async (file, flips, cut) => {
          const bytes = file.slice(0, cut === undefined ? file.length : 133 + cut);
          for (const [at, value] of flips) bytes[132 + (at % (bytes.length - 132))] = value;
          await readOrRefuse({ scan: bytes });
          await readOrRefuse({ "scan/0": bytes, "scan/1": file });
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("a DICOM header", () => {
  test.each<[string, Uint8Array, RegExp]>([
    [
      "frames it does not hold",
      makeSlice({ extra: { 2621456: ["US", 60000], 2621457: ["US", 60000] } }),
      /over the limit|cut short/,
    ],
    [
      "samples of one bit",
      makeSlice({ extra: { 2621696: ["US", 1], 2621697: ["US", 1], 2621698: ["US", 0] } }),
      /samples of 1 bits/,
    ],
    [
      "a palette that is not there",
      makeSlice({ extra: { 2621444: ["CS", "PALETTE COLOR"] } }),
      /from a palette that is missing or stored in segments/,
    ],
    [
      "a palette of more colours than it holds",
      makeSlice({
        extra: {
          2621444: ["CS", "PALETTE COLOR"],
          ...Object.fromEntries([1, 2, 3].map((c) => [0x00281100 + c, ["US", [0, 0, 16]]])),
          ...Object.fromEntries([1, 2, 3].map((c) => [0x00281200 + c, ["OW", new Uint8Array(9)]])),
        } as Elements,
      }),
      /its palette holds 10 bytes for 65536 colours/,
    ],
    [
      "bits beyond what is allocated",
      makeSlice({ extra: { 2621698: ["US", 20] } }),
      /16 bits up to bit 20 of 16/,
    ],
    [
      "three samples of grey",
      makeSlice({ extra: { 2621442: ["US", 3] } }),
      /3 samples a pixel for MONOCHROME2/,
    ],
    ["no frames", makeSlice({ extra: { 2621448: ["IS", "0"] } }), /its number of frames/],
    [
      "video",
      makeDicom({
        syntax: "1.2.840.10008.1.2.4.102",
        elements: elementsOf({}),
        pixels: { frames: [[new Uint8Array(8)]], table: "none" },
      }),
      /stored as MPEG-4 video, which is not supported/,
    ],
    [
      "sequences within sequences without end",
      makeDicom({
        elements: { ...elementsOf({}), 1375769129: ["SQ", [nested(40)]] },
        pixels: new Uint8Array(24),
      }),
      /lie more than 16 deep/,
    ],
    [
      "a value without end",
      makeDicom({ elements: { ...elementsOf({}), 524296: ["CS", "X".repeat(9000)] } }),
      /9000 bytes long/,
    ],
  ])("%s", async (_, bytes, reason) => {
    expect(await refusal(open({ scan: bytes }))).toMatch(reason);
  });
});

test("with any counts makes opening read or hold no more than the file's length", async () => {
  const counts = [65_536, 2 ** 23, 2 ** 23 + 1, 2 ** 31 - 1];
  const empty = { frames: [[new Uint8Array(2)]], table: "none" as const };
  const made = counts.flatMap((count) => {
    const extra = { 2621448: ["IS", String(count)] } as Elements;
    const tiny = { ...elementsOf({ rows: 1, columns: 1 }), ...extra };
    return [
      makeSlice({ extra }),
      makeDicom({ elements: tiny, pixels: new Uint8Array(24) }),
      makeDicom({ syntax: SYNTAX.rle, elements: tiny, pixels: empty }),
      makeDicom({ syntax: SYNTAX.rle, elements: tiny, pixels: { ...empty, table: "basic" } }),
      makeDicom({ syntax: SYNTAX.rle, elements: tiny, pixels: { ...empty, table: "extended" } }),
    ];
  });
  for (const bytes of made) {
    const store = new MemoryStore({ scan: bytes });
    let asked = 0;
    const getRange = store.getRange.bind(store);
    store.getRange = (key, offset, length, options) => {
      asked += length;
      return getRange(key, offset, length, options);
    };
    const before = process.memoryUsage().arrayBuffers;
    expect(await refusal(openImage(store, "scan"))).toMatch(/frames/);
    expect(asked).toBeLessThanOrEqual(3 * bytes.length);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
  }
});

test("made of items alone takes little memory", async () => {
  // Eight bytes an item: four million would be objects of a gigabyte.
  const items = new Uint8Array(32 << 20);
  const words = new Uint32Array(items.buffer);
  // (fffe,e000) of length 0.
  for (let i = 0; i < words.length; i += 2) words[i] = 0xe000fffe;
  for (const tag of [0x52009230, 0x52009229, 0x00091010]) {
    const bytes = makeDicom({
      syntax: SYNTAX.implicit,
      elements: { ...elementsOf({}), [tag]: ["OB", items] },
      pixels: new Uint8Array(24),
    });
    const before = process.memoryUsage().heapUsed;
    await open({ scan: bytes });
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100 << 20);
  }
});

function nested(depth: number): Elements {
  return { 2658576: ["SQ", [depth === 0 ? {} : nested(depth - 1)]] };
}
