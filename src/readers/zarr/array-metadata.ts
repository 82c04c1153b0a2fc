import { registry } from "zarrita";
import * as z from "zod";
import { MAX_SIDE } from "../../image/limits.ts";

/** Limit of codecs within codecs (shards of chunks): no known file nests them deeper. */
const MAX_NESTING = 4;
const MAX_CODECS = 16;
/** Axes t, c, z, y, x. */
const MAX_AXES = 5;

const sides = z.array(z.int().min(1).max(MAX_SIDE)).min(1).max(MAX_AXES);
const configuration = z.record(z.string(), z.unknown()).optional();
const codec = z.looseObject({ name: z.string().max(64), configuration });
const codecs = z.array(codec).min(1).max(MAX_CODECS);
const fill = z.union([z.number(), z.boolean(), z.string(), z.null(), z.array(z.number())]);

const arrayV2 = z.looseObject({
  zarr_format: z.literal(2),
  shape: sides,
  chunks: sides,
  dtype: z.string().max(64),
  compressor: z.looseObject({ id: z.string().max(64) }).nullable(),
  filters: z
    .array(z.looseObject({ id: z.string().max(64) }))
    .max(MAX_CODECS)
    .nullish(),
  order: z.enum(["C", "F"]),
  fill_value: fill.optional(),
  dimension_separator: z.enum([".", "/"]).optional(),
});

const arrayV3 = z.looseObject({
  zarr_format: z.literal(3),
  node_type: z.literal("array"),
  shape: sides,
  data_type: z.string().max(64),
  chunk_grid: z.looseObject({
    name: z.literal("regular"),
    configuration: z.looseObject({ chunk_shape: sides }),
  }),
  chunk_key_encoding: z.looseObject({
    name: z.enum(["default", "v2"]),
    configuration: z.looseObject({ separator: z.enum([".", "/"]).optional() }).optional(),
  }),
  codecs,
  fill_value: fill.optional(),
  dimension_names: z.array(z.string().nullable()).nullish(),
  storage_transformers: z.array(z.unknown()).max(0, "storage transformers are not supported").optional(),
});

const shards = z.looseObject({ chunk_shape: sides, codecs, index_codecs: codecs });
const byteOrder = z.looseObject({ endian: z.enum(["little", "big"]).optional() });
const transposed = z.looseObject({
  order: z.union([
    z.enum(["C", "F"]),
    z.array(
      z
        .int()
        .min(0)
        .max(MAX_AXES - 1),
    ),
  ]),
});

/**
 * Checks all of an array's metadata that zarrita relies on without checking: with a number in place of a list it
 * fails with a TypeError, and with an unknown codec in an unhandled rejection.
 * @param metadata parsed JSON of `zarr.json` or `.zarray`
 * @throws {Error} whose message completes the sentence "… its level cannot be opened: …"
 */
export function checkArrayMetadata(metadata: unknown, version: 2 | 3): void {
  if (version === 2) {
    const { shape, chunks, compressor, filters } = parse(arrayV2, metadata);
    checkRank(shape, chunks);
    for (const { id } of [...(filters ?? []), ...(compressor ? [compressor] : [])])
      checkCodec(`numcodecs.${id}`, id);
    return;
  }
  const parsed = parse(arrayV3, metadata);
  checkArrayAttributes(parsed.attributes);
  checkRank(parsed.shape, parsed.chunk_grid.configuration.chunk_shape);
  checkCodecs(parsed.codecs, parsed.chunk_grid.configuration.chunk_shape, 0);
}

/**
 * @param attributes parsed JSON of an array's `.zattrs`, or `attributes` of its `zarr.json`
 * @throws {Error} as `checkArrayMetadata` does
 */
export function checkArrayAttributes(attributes: unknown): void {
  if (attributes === undefined) return;
  if (typeof attributes !== "object" || attributes === null || Array.isArray(attributes))
    throw new Error("its attributes are not a JSON object");
}

function checkRank(shape: readonly number[], chunks: readonly number[]): void {
  if (shape.length !== chunks.length)
    throw new Error(`its shape has ${shape.length} axes and its chunks have ${chunks.length}`);
}

function checkCodecs(list: z.infer<typeof codecs>, chunk: readonly number[], depth: number): void {
  if (depth === MAX_NESTING) throw new Error(`its codecs are nested more than ${MAX_NESTING} deep`);
  let toBytes = 0;
  for (const { name, configuration = {} } of list) {
    if (name === "sharding_indexed") {
      const inner = parse(shards, configuration);
      checkRank(chunk, inner.chunk_shape);
      if (inner.chunk_shape.some((n, axis) => chunk[axis]! % n !== 0))
        throw new Error(
          `its shards of ${chunk.join(" × ")} are not a multiple of ${inner.chunk_shape.join(" × ")}`,
        );
      checkCodecs(inner.codecs, inner.chunk_shape, depth + 1);
      checkCodecs(inner.index_codecs, inner.chunk_shape, depth + 1);
      toBytes++;
      continue;
    }
    checkCodec(name, name);
    if (name === "bytes") {
      parse(byteOrder, configuration);
      toBytes++;
    }
    if (name === "transpose") {
      const { order } = parse(transposed, configuration);
      if (Array.isArray(order) && (order.length !== chunk.length || new Set(order).size !== order.length))
        throw new Error(`its transpose codec orders axes ${order.join(", ")} of ${chunk.length}`);
    }
  }
  if (toBytes !== 1) throw new Error("its codecs must contain exactly one that turns samples into bytes");
}

/** Codecs that are not meant for images, or that zarrita runs without a bound. */
const NO_IMAGE = new Set(["vlen-utf8", "json2", "numcodecs.vlen-utf8", "numcodecs.json2"]);

function checkCodec(name: string, shown: string): void {
  if (registry.has(name) && !NO_IMAGE.has(name)) return;
  const printable = shown.replace(/[^\w.-]/g, "?").slice(0, 40);
  throw new UnsupportedCodecError(
    `it is stored with the codec "${printable}", which is not supported; write it with blosc, zstd or gzip`,
  );
}

/** zod's message for undefined. */
export const MISSING = {
  error: ({ input }: { input?: unknown }) => (input === undefined ? "it is missing" : undefined),
};

/** The file is valid, and not supported. */
export class UnsupportedCodecError extends Error {
  override readonly name = "UnsupportedCodecError";
}

function parse<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const parsed = schema.safeParse(value, MISSING);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new Error(path.length > 0 ? `${path.join(".")}: ${message}` : message);
}
