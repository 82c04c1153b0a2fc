import { mkdtemp, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ObjectChangedError, StorageError } from "../../src/storage/errors.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { S3Store } from "../../src/storage/s3-store.ts";
import { startS3Stub } from "./s3-stub.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (b: Uint8Array | undefined) => b && new TextDecoder().decode(b);
const keys = async (store: ObjectStore, prefix: string) => {
  const found: string[] = [];
  for await (const key of store.list(prefix)) found.push(key);
  return found;
};

let root: string;
let s3: Awaited<ReturnType<typeof startS3Stub>>;
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), "tilewright-"));
  s3 = await startS3Stub();
});
afterAll(async () => {
  await s3.close();
  await rm(root, { recursive: true });
});

let made = 0;
const STORES: Record<string, () => ObjectStore & { close?(): Promise<void> }> = {
  memory: () => new MemoryStore(),
  fs: () => new FsStore(path.join(root, `store-${++made}`)),
  s3: () => s3.store(`bucket-${++made}`),
  "s3 below a prefix": () => s3.store(`bucket-${++made}`, "some/where/"),
};

describe.each(Object.keys(STORES))("the store contract: %s", (name) => {
  test("what is put is read back, whole and in parts", async () => {
    const store = STORES[name]!();
    expect(await store.put("a/b.txt", bytes("0123456789"))).toBe(true);
    const info = await store.head("a/b.txt");
    expect(info?.byteLength).toBe(10);
    const object = await store.get("a/b.txt");
    expect(object).toEqual({ ...info, bytes: bytes("0123456789") });
    const range = async (offset: number, length: number) =>
      text(await store.getRange("a/b.txt", offset, length));
    expect(await range(2, 3)).toBe("234");
    expect(await range(8, 10)).toBe("89");
    expect(await range(-4, 4)).toBe("6789");
    expect(await range(-4, 2)).toBe("67");
    expect(await range(3, 0)).toBe("");
    expect(await range(50, 5)).toBe("");
    await store.close?.();
  });

  test("a missing key is undefined, also through a file", async () => {
    const store = STORES[name]!();
    await store.put("a", bytes("x"));
    for (const key of ["b", "a/b", "c/d/e"]) {
      expect(await store.head(key)).toBeUndefined();
      expect(await store.get(key)).toBeUndefined();
      expect(await store.getRange(key, 0, 5)).toBeUndefined();
    }
    await store.close?.();
  });

  test("the etag tells a changed object, of equal size too", async () => {
    const store = STORES[name]!();
    await store.put("a", bytes("first"));
    const etag = (await store.head("a"))!.etag;
    expect(text(await store.getRange("a", 0, 5, { ifMatch: etag }))).toBe("first");
    await store.put("a", bytes("other"));
    expect((await store.head("a"))!.etag).not.toBe(etag);
    await expect(store.getRange("a", 0, 5, { ifMatch: etag })).rejects.toThrow(ObjectChangedError);
    expect(text(await store.getRange("a", 0, 5))).toBe("other");
    await store.close?.();
  });

  test("put only if absent", async () => {
    const store = STORES[name]!();
    expect(await store.put("a", bytes("1"), { ifNoneMatch: "*" })).toBe(true);
    expect(await store.put("a", bytes("2"), { ifNoneMatch: "*" })).toBe(false);
    expect(text((await store.get("a"))?.bytes)).toBe("1");
    const raced = await Promise.all(
      ["x", "y", "z"].map((v) => store.put("race", bytes(v), { ifNoneMatch: "*" })),
    );
    expect(raced.filter(Boolean)).toHaveLength(1);
    await store.close?.();
  });

  test("keys come in lexical order, by any prefix", async () => {
    const store = STORES[name]!();
    const all = ["a", "b-1", "b/1", "b/2/x", "b/2.txt", "b0", "é/ö 😐"];
    for (const key of [...all].reverse()) await store.put(key, bytes(key));
    expect(await keys(store, "")).toEqual([...all].sort());
    expect(await keys(store, "b/")).toEqual(["b/1", "b/2.txt", "b/2/x"]);
    expect(await keys(store, "b/2")).toEqual(["b/2.txt", "b/2/x"]);
    expect(await keys(store, "nothing")).toEqual([]);
    expect(text((await store.get("é/ö 😐"))?.bytes)).toBe("é/ö 😐");
    await store.close?.();
  });

  test("keys that lead out of the store are refused", async () => {
    const store = STORES[name]!();
    for (const key of ["../x", "a/../x", "/etc/passwd", "a//b", "", ".", "a\0b"]) {
      await expect(store.put(key, bytes("x"))).rejects.toThrow(TypeError);
    }
    await store.close?.();
  });

  test("an aborted call rejects", async () => {
    const store = STORES[name]!();
    await store.put("a", bytes("x"));
    const signal = AbortSignal.abort();
    await expect(store.get("a", { signal })).rejects.toThrow();
    await expect(store.put("a", bytes("y"), { signal })).rejects.toThrow();
    expect(text((await store.get("a"))?.bytes)).toBe("x");
    await store.close?.();
  });
});

describe("fs", () => {
  let store: FsStore;
  afterEach(() => store.close());

  test("a directory is no object, and files being written are not listed", async () => {
    store = new FsStore(path.join(root, "fs-1"));
    await store.put("d/a", bytes("x"));
    expect(await store.head("d")).toBeUndefined();
    await writeFile(path.join(root, "fs-1", "d", ".tilewright-writing-1"), "half");
    expect(await keys(store, "")).toEqual(["d/a"]);
  });

  test("nothing is left of a write that failed", async () => {
    store = new FsStore(path.join(root, "fs-2"));
    await store.put("taken", bytes("x"));
    await store.put("dir/a", bytes("x"));
    await expect(store.put("taken/below", bytes("x"))).rejects.toThrow(
      "cannot write taken/below: a file is in the way of a directory",
    );
    await expect(store.put("dir", bytes("x"))).rejects.toThrow(StorageError);
    expect((await readdir(store.root, { recursive: true })).sort()).toEqual(["dir", "dir/a", "taken"]);
  });

  test("a file replaced under an open handle is noticed, and links are followed", async () => {
    store = new FsStore(path.join(root, "fs-3"));
    await store.put("a", bytes("first"));
    const etag = (await store.head("a"))!.etag;
    await store.getRange("a", 0, 5, { ifMatch: etag });
    await writeFile(path.join(store.root, "new"), "other");
    await rename(path.join(store.root, "new"), path.join(store.root, "a"));
    await expect(store.getRange("a", 0, 5, { ifMatch: etag })).rejects.toThrow(ObjectChangedError);
    await symlink("a", path.join(store.root, "link"));
    expect(text((await store.get("link"))?.bytes)).toBe("other");
  });

  test("many files are read with few handles open", async () => {
    store = new FsStore(path.join(root, "fs-4"));
    const names = Array.from({ length: 40 }, (_, i) => `f${i}`);
    for (const name of names) await store.put(name, bytes(name));
    const read = await Promise.all(
      names.flatMap((name) => [store.getRange(name, 0, 9), store.getRange(name, 1, 9)]),
    );
    expect(read.map(text)).toEqual(names.flatMap((name) => [name, name.slice(1)]));
    await store.close();
    expect(text(await store.getRange("f0", 0, 9))).toBe("f0");
  });
});

describe("s3", () => {
  test("servers without conditional writes: look first, then write", async () => {
    const store = s3.store("no-conditions");
    expect(await store.put("a", bytes("1"), { ifNoneMatch: "*" })).toBe(true);
    expect(await store.put("a", bytes("2"), { ifNoneMatch: "*" })).toBe(false);
    expect(text((await store.get("a"))?.bytes)).toBe("1");
  });

  test("a long listing comes in pages", async () => {
    const store = s3.store("pages");
    const names = Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(2, "0")}`);
    for (const name of names) await store.put(name, bytes(name));
    expect(await keys(store, "k")).toEqual(names);
  });

  test("denied and unreachable say what to check", async () => {
    await expect(s3.store("denied").head("a")).rejects.toThrow(
      /access to s3:\/\/denied\/a is denied.*AWS_ACCESS_KEY_ID/,
    );
    const nowhere = new S3Store("b", {
      endpoint: "http://127.0.0.1:9",
      region: "us-east-1",
      credentials: { accessKeyId: "a", secretAccessKey: "b" },
    });
    const error = await nowhere.get("a").catch((e) => e);
    expect(error).toBeInstanceOf(StorageError);
    expect(error.retryable).toBe(true);
    expect(error.message).toMatch(
      /cannot reach the S3 server for s3:\/\/b\/a \(ECONNREFUSED\); check AWS_ENDPOINT_URL/,
    );
  });
});
