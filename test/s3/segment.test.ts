import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeImage } from "../../src/image/describe.ts";
import { type SegmentOptions, segment } from "../../src/index.ts";
import { openSource } from "../../src/local/open-source.ts";
import { ObjectChangedError } from "../../src/storage/errors.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { type MadeSlide, writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { endpoint, makeBucket, openStore } from "./server.ts";

let directory: string;
let bucket: string;
let slide: MadeSlide;
let model: string;

beforeAll(async () => {
  // Settings for a server other than AWS.
  process.env.AWS_ENDPOINT_URL_S3 = endpoint;
  directory = mkdtempSync(join(tmpdir(), "tilewright-s3-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"));
  model = writePointwisePackage(join(directory, "pointwise"));
  bucket = await makeBucket();
  await upload(slide.path, "slide.tiff");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function upload(path: string, key: string): Promise<number> {
  const bytes = readFileSync(path);
  await openStore(bucket).put(key, bytes);
  return bytes.length;
}

let runs = 0;
async function run(source: string, options: Partial<SegmentOptions> = {}) {
  const out = join(directory, `run-${runs++}`);
  const manifest = await segment({ source, model, threads: 1, tissueMask: false, ...options, out });
  return { manifest, out, hashes: treeHashes(out) };
}

/**
 * Replaces object ids by their order of appearance: they are derived from the job, which depends on the etag of its source,
 * and files and buckets have different etags.
 */
function hashesButIds(out: string): Record<string, string> {
  const hashes = treeHashes(out);
  for (const name of ["objects.geojson", "measurements.csv"]) {
    const ids = new Map<string, number>();
    hashes[name] = readFileSync(join(out, name), "utf8").replace(UUID, (id) => {
      if (!ids.has(id)) ids.set(id, ids.size);
      return `id ${ids.get(id)}`;
    });
    expect(ids.size).toBeGreaterThan(1);
  }
  return hashes;
}
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g;

describe("segment", () => {
  test("gives the same bytes from a bucket as from a file", async () => {
    const options = {
      outputs: ["labels.ome.tiff", "labels.ome.zarr", "objects.geojson", "measurements.csv"],
    };
    const fromFile = await run(slide.path, options);
    const fromBucket = await run(`s3://${bucket}/slide.tiff`, options);
    expect(Object.keys(fromFile.hashes).length).toBeGreaterThan(4);
    expect(hashesButIds(fromBucket.out)).toEqual(hashesButIds(fromFile.out));
    expect(fromBucket.manifest.source.byteLength).toBe(fromFile.manifest.source.byteLength);
    expect(fromBucket.manifest.source.name).toBe("slide.tiff");
  });

  test("reads only the bytes that a region needs, also below folders and names with spaces", async () => {
    const large = writeMadeSlide(join(directory, "large.tiff"), { width: 2100, height: 1500 });
    const key = "größe 1/case #2/large.tiff";
    const byteLength = await upload(large.path, key);
    await upload(large.path, "large.tiff");
    const options = { roi: [1130, 630, 200, 100] as [number, number, number, number] };
    const fromFile = await run(large.path, options);
    const fromBucket = await run(`s3://${bucket}/${key}`, options);
    expect(hashesButIds(fromBucket.out)).toEqual(hashesButIds(fromFile.out));
    // An object with the same bytes elsewhere gives the same job and ids.
    expect((await run(`s3://${bucket}/large.tiff`, options)).hashes).toEqual(fromBucket.hashes);
    expect(fromBucket.manifest.bytesRead).toBeGreaterThan(0);
    expect(fromBucket.manifest.bytesRead).toBeLessThan(byteLength / 2);
  });

  test("notices a slide that is overwritten while it is read", async () => {
    const size = { width: 2100, height: 1500 };
    await upload(writeMadeSlide(join(directory, "before.tiff"), size).path, "changing.tiff");
    const { source, close } = await openSource(`s3://${bucket}/changing.tiff`, undefined);
    try {
      const other = writeMadeSlide(join(directory, "other.tiff"), { ...size, empty: (x) => x > 300 });
      await upload(other.path, "changing.tiff");
      // Opening has read the ends of the file, which stay those of the old slide.
      const middle = { origin: [700, 1000], size: [50, 50] };
      await expect(source.readRegion(0, middle)).rejects.toThrow(ObjectChangedError);
    } finally {
      await close();
    }
  });

  test("names a missing slide", async () => {
    await expect(run(`s3://${bucket}/no.tiff`)).rejects.toThrow("no.tiff");
  });
});

const slides = fileURLToPath(new URL("../../../shared/data/slides", import.meta.url));
const present = existsSync(slides);
if (!present) console.warn(`real slides are not read from a bucket: they are not at ${slides}`);

describe.skipIf(!present)("real slides are described and read from a bucket as from a file", () => {
  test.each(["aperio-jpeg/CMU-1-Small-Region.svs", "aperio-jpeg2000/tcga-cr-7395-01a-01-ts1.svs"])(
    "%s",
    async (slidePath) => {
      const path = join(slides, slidePath);
      const name = basename(path);
      const byteLength = await upload(path, name);
      const local = await openSource(path, undefined);
      const remote = await openSource(`s3://${bucket}/${name}`, undefined);
      try {
        const { etag } = describeImage(remote.source);
        expect(describeImage(remote.source)).toEqual({ ...describeImage(local.source), etag });
        expect(remote.source.bytesRead).toBeLessThan(byteLength / 2);
        const rect = { origin: [100, 200], size: [64, 300] };
        expect((await remote.source.readRegion(0, rect)).data).toEqual(
          (await local.source.readRegion(0, rect)).data,
        );
      } finally {
        await Promise.all([local.close(), remote.close()]);
      }
    },
  );
});
