import { ListObjectsV2Command, PutObjectCommand } from "@aws-sdk/client-s3";
import { describe, expect, test } from "vitest";
import { StorageError } from "../../src/storage/errors.ts";
import { S3Store } from "../../src/storage/s3-store.ts";
import { bytes, describeStoreContract, keys, text } from "../storage/store-contract.ts";
import { client, endpoint, makeBucket, openStore } from "./server.ts";

// Swift has no conditional writes.
const swift = { conditionalWritesAreAtomic: false };
describeStoreContract("s3", async () => openStore(await makeBucket()), swift);

let prefixes = 0;
let shared: Promise<string> | undefined;
const belowAPrefix = async () => {
  shared ??= makeBucket();
  return openStore(await shared, `some/where é ${++prefixes}/`);
};
describeStoreContract("s3 below a prefix", belowAPrefix, swift);

test("a prefix hides objects outside it", async () => {
  const bucket = await makeBucket();
  const [whole, part] = [openStore(bucket), openStore(bucket, "a/")];
  await whole.put("b", bytes("beside"));
  await part.put("b", bytes("below"));
  expect(await keys(whole, "")).toEqual(["a/b", "b"]);
  expect(await keys(part, "")).toEqual(["b"]);
  expect(text((await part.get("b"))?.bytes)).toBe("below");
});

test("never overwrites objects, also on a server without conditional writes", async () => {
  const bucket = await makeBucket();
  const conditional = new PutObjectCommand({ Bucket: bucket, Key: "a", Body: "0", IfNoneMatch: "*" });
  // If this fails, Swift supports it now: remove `conditionalWritesAreAtomic` above.
  await expect(client.send(conditional)).rejects.toMatchObject({ $metadata: { httpStatusCode: 501 } });

  const store = openStore(bucket);
  expect(await store.head("a")).toBeUndefined();
  expect(await store.put("a", bytes("1"), { ifNoneMatch: "*" })).toBe(true);
  const { etag } = (await store.head("a"))!;
  expect(await store.put("a", bytes("2"), { ifNoneMatch: "*" })).toBe(false);
  expect(await store.get("a")).toEqual({ bytes: bytes("1"), byteLength: 1, etag });
});

test("a listing of several pages is complete and in order", async () => {
  const bucket = await makeBucket();
  const store = openStore(bucket, "pages/");
  const names = Array.from({ length: 120 }, (_, i) => `k ${String(i).padStart(3, "0")} é`);
  for (let i = 0; i < names.length; i += 12) {
    await Promise.all(names.slice(i, i + 12).map((name) => store.put(name, bytes(name))));
  }
  await openStore(bucket).put("zz", bytes("beside"));
  const page = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: "pages/" }));
  expect([page.IsTruncated, page.KeyCount]).toEqual([true, 50]);
  expect(await keys(store, "")).toEqual(names);
  expect(await keys(store, "k 0")).toEqual(names.slice(0, 100));
  expect(await keys(store, "k 11")).toEqual(names.slice(110));
});

test("reads back a few megabytes, whole and by range", async () => {
  const store = openStore(await makeBucket());
  const data = new Uint8Array(3_000_001);
  for (let i = 0; i < data.length; i++) data[i] = (i * 2654435761) >>> 13;
  await store.put("large", data, { contentType: "image/tiff" });
  expect(Buffer.compare((await store.get("large"))!.bytes, data)).toBe(0);
  for (const [offset, length] of [
    [1_000_000, 1_048_577],
    [2_999_990, 100],
    [-1_500_000, 1_500_000],
  ] as const) {
    const start = offset < 0 ? data.length + offset : offset;
    const part = await store.getRange("large", offset, length);
    expect(Buffer.compare(part!, data.subarray(start, start + length))).toBe(0);
  }
});

describe("failures are one sentence that says what to check", () => {
  const failure = async (call: Promise<unknown>): Promise<StorageError> => {
    const error = await call.catch((e: StorageError) => e);
    if (!(error instanceof StorageError)) throw new Error(`no StorageError was thrown but ${error}`);
    return error;
  };

  test.each([
    ["a wrong secret", { accessKeyId: process.env.AWS_ACCESS_KEY_ID!, secretAccessKey: "wrong" }],
    ["an unknown key", { accessKeyId: "nobody", secretAccessKey: "wrong" }],
  ])("%s", async (_, credentials) => {
    const bucket = await makeBucket();
    await openStore(bucket).put("a b.svs", bytes("x"));
    const store = new S3Store(bucket, { endpoint, credentials });
    for (const call of [
      () => store.head("a b.svs"),
      () => store.get("a b.svs"),
      () => store.getRange("a b.svs", 0, 1, { ifMatch: '"x"' }),
      () => store.put("a b.svs", bytes("y")),
      () => store.put("a b.svs", bytes("y"), { ifNoneMatch: "*" }),
    ]) {
      const { message, retryable } = await failure(call());
      expect(message).toMatch(
        new RegExp(
          `^access to s3://${bucket}/a b.svs is denied \\((403|SignatureDoesNotMatch|InvalidAccessKeyId)\\); ` +
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy$",
        ),
      );
      expect(retryable).toBe(false);
    }
    expect((await failure(keys(store, "a"))).message).toMatch(`access to s3://${bucket}/a is denied`);
    expect(text((await openStore(bucket).get("a b.svs"))?.bytes)).toBe("x");
  });

  test("a missing bucket", async () => {
    const store = openStore("tilewright-no-such-bucket");
    expect(await store.head("a")).toBeUndefined();
    expect(await store.getRange("a", 0, 1)).toBeUndefined();
    for (const options of [{}, { ifNoneMatch: "*" } as const]) {
      const { message, retryable } = await failure(store.put("a", bytes("x"), options));
      expect(message).toBe("bucket tilewright-no-such-bucket does not exist; check its name");
      expect(retryable).toBe(false);
    }
  });

  test("an invalid bucket name", async () => {
    const { message, retryable } = await failure(openStore("No_Bucket").head("a"));
    expect(message).toBe(
      "the S3 server answers 400 for s3://No_Bucket/a; check the bucket's name and AWS_REGION",
    );
    expect(retryable).toBe(false);
  });
});
