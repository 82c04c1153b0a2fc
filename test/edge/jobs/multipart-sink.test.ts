import { createHash } from "node:crypto";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Bundle, bundleWorker, runWorker } from "../run-worker.ts";
import { pattern } from "./sink-worker/pattern.ts";

const PART = 5 * 2 ** 20;

let bundle: Bundle;
let worker: Miniflare;
beforeAll(async () => {
  bundle = await bundleWorker("test/edge/jobs/sink-worker/wrangler.toml");
  worker = await runWorker(bundle, { buckets: ["BUCKET"] });
});
afterAll(async () => {
  await worker?.dispose();
  await bundle?.remove();
});

async function write(query: string): Promise<unknown> {
  const response = await fetch(new URL(`/?${query}`, await worker.ready));
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return JSON.parse(text);
}

it.each([
  [0, 1, 0],
  [40, 7, 16],
  [PART - 1, PART, 16],
  [PART, PART, 16],
  [PART + 1, 1_000_003, 16],
  [2 * PART, 3 * PART, 0],
  [3 * PART + 5, 2_000_001, 4096],
])(
  "%i bytes in pieces of %i become one object, its first %i bytes written last",
  async (bytes, piece, head) => {
    const expected = pattern(bytes);
    expected.fill(255, 0, head);
    const sha256 = createHash("sha256").update(expected).digest("hex");
    expect(await write(`bytes=${bytes}&piece=${piece}&head=${head}`)).toEqual({
      name: "out",
      byteLength: bytes,
      sha256,
    });
    const stored = (await (await worker.getR2Bucket("BUCKET")).get("results/out"))!;
    expect(
      createHash("sha256")
        .update(new Uint8Array(await stored.arrayBuffer()))
        .digest("hex"),
    ).toBe(sha256);
    expect(stored.httpMetadata!.contentType).toBe("image/tiff");
  },
);

it("an aborted object does not exist", async () => {
  const bucket = await worker.getR2Bucket("BUCKET");
  await bucket.delete("results/out");
  await write(`bytes=${3 * PART}&piece=${PART}&abort`);
  expect(await bucket.head("results/out")).toBeNull();
});
