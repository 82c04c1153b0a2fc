import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { MAX_PREFIX_OBJECTS } from "../../../src/contracts/folder-limits.ts";
import { fingerprintSource } from "../../../src/edge/sources/fingerprint-source.ts";
import { listBucket } from "../../../src/edge/sources/list-bucket.ts";
import { openSourceStore, type SourceStore } from "../../../src/edge/sources/open-source-store.ts";
import { resolveSource } from "../../../src/edge/sources/resolve-source.ts";
import { MemoryStore } from "../../../src/storage/memory-store.ts";
import type { ListedObject } from "../../../src/storage/object-store.ts";
import { makeOmeZarr } from "../../builders/make-zarr.ts";
import { type BucketServer, openBucketServer } from "../../stack/bucket-server.ts";

const signal = AbortSignal.timeout(60_000);

function source(objects: Record<string, Uint8Array>, key: string): SourceStore {
  const store = new MemoryStore(objects);
  const uri = `s3://bucket/${key}`;
  return {
    store,
    key,
    uri,
    name: key.slice(key.lastIndexOf("/") + 1),
    objects: async function* (prefix) {
      for await (const found of store.list(prefix)) yield { key: found, ...(await store.head(found))! };
    },
  };
}

const bytes = (n: number) => new Uint8Array(n);

describe("the source at an address", () => {
  test("is an object, even with others below its name", async () => {
    const found = await resolveSource(source({ "a/b": bytes(7), "a/b/c": bytes(1) }, "a/b"), signal);
    expect(found).toMatchObject({ kind: "object", info: { byteLength: 7 } });
  });

  test("is a prefix, whose etag covers all objects below it and no others", async () => {
    const objects = { "a/b/1": bytes(1), "a/b/c/2": bytes(2), "a/bb/3": bytes(4), "a/b2": bytes(8) };
    const found = await resolveSource(source(objects, "a/b"), signal);
    expect(found).toMatchObject({ kind: "prefix", info: { byteLength: 3 } });
    const moved = { "x/1": bytes(1), "x/c/2": bytes(2) };
    const elsewhere = await resolveSource(source(moved, "x"), signal);
    // MemoryStore counts writes, so only names, sizes and the order of writing are compared.
    expect(elsewhere).toMatchObject({ kind: "prefix", info: (found as { info: object }).info });
    const more = await resolveSource(source({ ...moved, "x/d": bytes(0) }, "x"), signal);
    expect((more as { info: { etag: string } }).info.etag).not.toBe(
      (found as { info: { etag: string } }).info.etag,
    );
  });

  test("is missing", async () => {
    expect(await resolveSource(source({ "a/bc": bytes(1) }, "a/b"), signal)).toBeUndefined();
    const { objects: _, ...web } = source({ "a/b/c": bytes(1) }, "a/b");
    expect(await resolveSource(web, signal)).toBeUndefined();
    await expect(fingerprintSource(web, signal)).rejects.toMatchObject({
      status: 404,
      message: expect.stringContaining("web servers do not list directories"),
    });
  });

  test("ignores invalid keys", async () => {
    const store = source({ "a/1": bytes(1) }, "a");
    const odd = async function* (): AsyncGenerator<ListedObject> {
      for (const key of ["a/", "a//1", "a/../b", "a/x\u0007", "a/1"]) yield { key, etag: "e", byteLength: 1 };
    };
    const found = await resolveSource({ ...store, objects: odd }, signal);
    expect((found as { objects: readonly ListedObject[] }).objects.map(({ key }) => key)).toEqual(["a/1"]);
  });

  test("rejects too many objects without listing them all", async () => {
    let listed = 0;
    const endless = async function* (): AsyncGenerator<ListedObject> {
      for (;;) yield { key: `a/${listed++}`, etag: "e", byteLength: 1 };
    };
    const store = { ...source({}, "a"), objects: endless };
    await expect(resolveSource(store, signal)).rejects.toMatchObject({ status: 422, code: "source_refused" });
    expect(listed).toBe(MAX_PREFIX_OBJECTS + 1);
  });

  test.each(["scan.ome.zarr", "scan"])(
    "recognizes an OME-Zarr named %s by its metadata alone",
    async (key) => {
      const { objects } = makeOmeZarr({
        version: "0.4",
        axes: "yx",
        shape: [9, 9],
        chunks: [4, 4],
        dtype: "uint8",
        key,
      });
      const described = await fingerprintSource(source(objects, key), signal);
      expect(described).toMatchObject({ kind: "zarr", byteLength: 0 });
      expect(
        await fingerprintSource(source({ ...objects, [`${key}/0/9.9`]: bytes(3) }, key), signal),
      ).toEqual(described);
      const other = makeOmeZarr({
        version: "0.4",
        axes: "yx",
        shape: [9, 8],
        chunks: [4, 4],
        dtype: "uint8",
        key,
      });
      // Written later, so the etags differ.
      const store = source(objects, key);
      for (const [name, object] of Object.entries(other.objects)) await store.store.put(name, object);
      expect((await fingerprintSource(store, signal)).etag).not.toBe(described.etag);
    },
  );

  test("rejects an invalid Zarr when the job is requested", async () => {
    const store = source({ "a.zarr/.zgroup": new TextEncoder().encode("{}") }, "a.zarr");
    await expect(fingerprintSource(store, signal)).rejects.toMatchObject({
      status: 422,
      code: "source_unreadable",
    });
  });
});

describe("the bucket of results", () => {
  const env = {
    SCANS: { get: () => {}, head: async () => null } as never,
    SCANS_BUCKET: "scans",
    RESULTS_BUCKET: "scans",
  };
  test.each(["work", "results", "results/", "work/0123", "results/0123/labels.ome.zarr"])(
    "rejects %s as an object and as a prefix",
    (key) => {
      expect(() => openSourceStore(env, `r2://scans/${key}`)).toThrow(
        expect.objectContaining({ status: 422 }),
      );
    },
  );
});

describe("listing a bucket of S3", () => {
  let bucket: BucketServer;
  let server: Server;
  let answer: (url: URL, response: ServerResponse) => void;
  let asked: URL[];
  beforeAll(async () => {
    bucket = await openBucketServer();
    server = createServer((request: IncomingMessage, response) => {
      const url = new URL(request.url!, "http://server");
      asked.push(url);
      answer(url, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  beforeEach(() => {
    asked = [];
    bucket.objects.clear();
  });
  afterAll(async () => {
    await bucket.close();
    server.closeAllConnections();
    server.close();
  });
  const badServer = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/b`;
  const all = async (url: string, prefix: string) => {
    const found: ListedObject[] = [];
    for await (const object of listBucket(url, prefix, fetch)) found.push(object);
    return found;
  };

  test("gives every key below the prefix unchanged, over pages", async () => {
    const name = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 6 })
      .filter((s) => !/\p{Surrogate}/u.test(s));
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(name, { maxLength: 25 }), async (names) => {
        bucket.objects.clear();
        for (const n of names) bucket.objects.set(`a b+&/${n}`, bytes(n.length));
        bucket.objects.set("a b+", bytes(1));
        const found = await all(`${bucket.endpoint}/b`, "a b+&/");
        expect(found.map(({ key }) => key).sort()).toEqual(names.map((n) => `a b+&/${n}`).sort());
        for (const { key, byteLength } of found) expect(byteLength).toBe(bucket.objects.get(key)!.length);
      }),
      { numRuns: 30 },
    );
  });

  const contents = "<Contents><Key>a</Key><ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>";
  test.each<[string, number, string, boolean]>([
    ["an error that may pass", 503, "", true],
    ["an error that will not", 400, "", false],
    ["an object without etag", 200, "<Contents><Key>a</Key><Size>1</Size></Contents>", false],
    ["an object without size", 200, "<Contents><Key>a</Key><ETag>e</ETag></Contents>", false],
    ["an object of no size", 200, contents.replace("1<", "-x<"), false],
    [
      "a key that is not encoded as it says",
      200,
      `<EncodingType>url</EncodingType>${contents.replace("a<", "%E0<")}`,
      false,
    ],
    ["a page of HTML", 200, "<html><body>Sign in</body></html>", false],
    ["a listing that is cut off", 200, `${contents}<Contents>`, false],
  ])("rejects %s", async (_, status, xml, retryable) => {
    const body = xml.startsWith("<html") ? xml : `<ListBucketResult>${xml}</ListBucketResult>`;
    answer = (_url, response) => void response.writeHead(status).end(body);
    await expect(all(badServer(), "a")).rejects.toMatchObject({ name: "StorageError", retryable });
  });

  test("rejects a listing that repeats a page, and an endless response", async () => {
    answer = (_url, response) =>
      void response.end(
        `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>${contents}</ListBucketResult>`,
      );
    await expect(all(badServer(), "a")).rejects.toThrow(/the same page of a listing again and again/);
    expect(asked).toHaveLength(2);
    answer = (_url, response) => {
      const more = () => {
        while (!response.destroyed && response.write("x".repeat(65_536)));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    };
    await expect(all(badServer(), "a")).rejects.toThrow(/more than 4194304 bytes/);
  });
});
