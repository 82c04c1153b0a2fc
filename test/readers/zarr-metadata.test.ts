import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ImageFormatError } from "../../src/image/errors.ts";
import { openImage } from "../../src/readers/open-image.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { makeOmeZarr } from "../builders/make-zarr.ts";

/** Promises of a library that nobody heard of: they end a process. */
const unheard: unknown[] = [];
const hear = (reason: unknown) => void unheard.push(reason);
beforeEach(() => void process.on("unhandledRejection", hear));
afterEach(async () => {
  await new Promise((resolve) => setTimeout(resolve, 5));
  process.off("unhandledRejection", hear);
  expect(unheard.splice(0)).toEqual([]);
});

const parse = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes));
const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

function zarr(version: "0.4" | "0.5", more: Partial<Parameters<typeof makeOmeZarr>[0]> = {}) {
  const { objects } = makeOmeZarr({
    version,
    axes: "cyx",
    shape: [2, 20, 24],
    chunks: [1, 16, 16],
    dtype: "uint8",
    ...more,
  });
  return objects;
}

/** Opens and reads all of an image: its samples, or the sentence that refuses it. */
async function readOrRefuse(objects: Record<string, Uint8Array>): Promise<string> {
  try {
    const image = await openImage(new MemoryStore(objects), "made.ome.zarr");
    const { shape } = image.levels[0]!;
    await image.readRegion(0, { origin: shape.map(() => 0), size: shape.map((n) => Math.min(n, 64)) });
    await image.close();
    return "read";
  } catch (error) {
    expect(error, String(error)).toBeInstanceOf(ImageFormatError);
    expect((error as Error).message).toMatch(/^made\.ome\.zarr[^\n]*$/);
    return (error as Error).message;
  }
}

/** Values that stand where others belong. */
const odd = fc.constantFrom<unknown>(
  null,
  true,
  0,
  -1,
  0.5,
  1e12,
  2 ** 53,
  "",
  "NaN",
  "x",
  "__proto__",
  "constructor",
  "../../../etc/passwd",
  "<f8",
  "|O",
  "|V1000000000",
  [],
  {},
  [-1, 3],
  [1e6, 1e6, 1e6],
  [[[[]]]],
  { id: "blosc" },
  { id: "zlib", level: 9 },
  { name: "gzip", configuration: {} },
  { name: "sharding_indexed", configuration: { chunk_shape: [1], codecs: [], index_codecs: [] } },
);

/** Changes one place in a JSON value, wherever `choices` lead. */
function mutate(value: unknown, choices: Iterator<number>, replacement: unknown): unknown {
  if (typeof value !== "object" || value === null) return replacement;
  const keys = Object.keys(value);
  const choice = choices.next().value!;
  if (keys.length === 0 || choice % 5 === 0) return replacement;
  const key = keys[choice % keys.length]!;
  const copy: Record<string, unknown> = Array.isArray(value) ? ([...value] as never) : { ...value };
  if (choice % 7 === 0) {
    if (Array.isArray(copy)) copy.splice(Number(key), 1);
    else delete copy[key];
    return copy;
  }
  copy[key] = mutate((value as Record<string, unknown>)[key], choices, replacement);
  return copy;
}

describe("metadata of a Zarr", () => {
  it("is read or rejected in a sentence, for any JSON", async () => {
    const files = {
      "0.4": [".zattrs", ".zgroup", "0/.zarray", "0/.zattrs"],
      "0.5": ["zarr.json", "0/zarr.json"],
    };
    const seen = { read: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("0.4" as const, "0.5" as const),
        fc.nat(),
        fc.array(fc.tuple(fc.infiniteStream(fc.nat()), odd), { minLength: 1, maxLength: 2 }),
        async (version, which, changes) => {
          const objects = zarr(version);
          const name = `made.ome.zarr/${files[version][which % files[version].length]}`;
          const changed = changes.reduce<unknown>(
            (value, [choices, replacement]) => mutate(value, choices, replacement),
            objects[name] ? parse(objects[name]) : { _ARRAY_DIMENSIONS: ["y", "x"] },
          );
          const answer = await readOrRefuse({ ...objects, [name]: json(changed) });
          seen[answer === "read" ? "read" : "refused"]++;
        },
      ),
      { numRuns: 1500 },
    );
    // Both happen, or the law says nothing.
    expect(seen.read).toBeGreaterThan(100);
    expect(seen.refused).toBeGreaterThan(500);
  }, 300_000);

  it.each([
    [
      "two codecs that nobody knows",
      { compressor: { id: "lzma" }, filters: [{ id: "quantize" }] },
      'the codec "quantize", which is not supported',
    ],
    [
      "a compressor that is not read",
      { compressor: { id: "bz2" } },
      'the codec "bz2", which is not supported',
    ],
    ["text", { filters: [{ id: "vlen-utf8" }] }, 'the codec "vlen-utf8", which is not supported'],
  ])("with %s is rejected as unsupported, not as damaged", async (_, change, sentence) => {
    const objects = zarr("0.4");
    const name = "made.ome.zarr/0/.zarray";
    const answer = await readOrRefuse({ ...objects, [name]: json({ ...parse(objects[name]!), ...change }) });
    expect(answer).toContain(sentence);
    expect(answer).not.toMatch(/damaged/);
  });

  it.each([
    [".zattrs", "its Zarr metadata cannot be read (.zattrs is not JSON)"],
    ["0/.zarray", 'its level "0" cannot be opened (0/.zarray is not JSON)'],
  ])("that is no JSON is named: %s", async (name, sentence) => {
    const objects = { ...zarr("0.4"), [`made.ome.zarr/${name}`]: Uint8Array.of(0x78, 1, 0xff, 0) };
    expect(await readOrRefuse(objects)).toContain(sentence);
  });

  it.each([null, 3, "text", [1]])(
    "attributes of an array that are no object are refused: %j",
    async (attributes) => {
      const reason = 'its level "0" cannot be opened (its attributes are not a JSON object)';
      expect(await readOrRefuse({ ...zarr("0.4"), "made.ome.zarr/0/.zattrs": json(attributes) })).toContain(
        reason,
      );
      const objects = zarr("0.5");
      const name = "made.ome.zarr/0/zarr.json";
      const changed = { ...parse(objects[name]!), attributes };
      expect(await readOrRefuse({ ...objects, [name]: json(changed) })).toContain(reason);
    },
  );

  it("that is missing is called missing", async () => {
    const objects = zarr("0.4");
    const name = "made.ome.zarr/0/.zarray";
    const { shape: _, ...rest } = parse(objects[name]!);
    expect(await readOrRefuse({ ...objects, [name]: json(rest) })).toContain("(shape: it is missing)");
    const attributes = parse(objects["made.ome.zarr/.zattrs"]!);
    delete attributes.multiscales[0].axes;
    expect(await readOrRefuse({ ...objects, "made.ome.zarr/.zattrs": json(attributes) })).toContain(
      "axes: it is missing (versions 0.4 and 0.5 are read)",
    );
  });

  it("with a hundred thousand levels is rejected at once", async () => {
    const objects = zarr("0.4");
    const attributes = parse(objects["made.ome.zarr/.zattrs"]!);
    const [dataset] = attributes.multiscales[0].datasets;
    attributes.multiscales[0].datasets = Array.from({ length: 100_000 }, () => dataset);
    expect(await readOrRefuse({ ...objects, "made.ome.zarr/.zattrs": json(attributes) })).toContain(
      "it has more than 64 levels",
    );
  });

  it("with deeply nested codecs is rejected", async () => {
    const objects = zarr("0.5");
    const name = "made.ome.zarr/0/zarr.json";
    const bytes = [{ name: "bytes", configuration: { endian: "little" } }];
    let codecs: unknown[] = bytes;
    for (let i = 0; i < 50; i++)
      codecs = [
        {
          name: "sharding_indexed",
          configuration: { chunk_shape: [1, 16, 16], codecs, index_codecs: bytes },
        },
      ];
    expect(await readOrRefuse({ ...objects, [name]: json({ ...parse(objects[name]!), codecs }) })).toContain(
      "nested more than 4 deep",
    );
  });
});

describe("spacing of a Zarr", () => {
  async function spacingOf(units: Record<string, string | undefined>, axes = "zyx", shape = [1, 20, 24]) {
    const objects = zarr("0.4", { axes, shape, chunks: shape.map((n) => Math.min(n, 16)) });
    const attributes = parse(objects["made.ome.zarr/.zattrs"]!);
    for (const axis of attributes.multiscales[0].axes) {
      axis.unit = units[axis.name];
      if (axis.unit === undefined) delete axis.unit;
    }
    const image = await openImage(
      new MemoryStore({ ...objects, "made.ome.zarr/.zattrs": json(attributes) }),
      "made.ome.zarr",
    );
    return image.spacing;
  }

  it("needs no unit along a z of one plane, which bioformats2raw omits", async () => {
    expect(await spacingOf({ y: "micrometer", x: "micrometer" })).toEqual({
      values: [0.5, 0.5],
      unit: "micrometer",
    });
    expect(await spacingOf({ y: "micrometer", x: "micrometer" }, "zyx", [3, 20, 24])).toBeUndefined();
  });

  it.each([
    ["um", 0.5],
    ["µm", 0.5],
    ["μm", 0.5],
    ["micron", 0.5],
    ["nm", 0.0005],
    ["nanometer", 0.0005],
  ])("is accepted in %s", async (unit, expected) => {
    expect(await spacingOf({ y: unit, x: unit })).toEqual({
      values: [expected, expected],
      unit: "micrometer",
    });
  });

  it.each(["constructor", "toString", "pixel", "", "furlong"])("is not stated in %j", async (unit) => {
    expect(await spacingOf({ y: unit, x: unit })).toBeUndefined();
  });
});
