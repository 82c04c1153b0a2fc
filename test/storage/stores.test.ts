import { mkdtemp, readdir, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ObjectChangedError, StorageError } from "../../src/storage/errors.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { bytes, describeStoreContract, keys, text } from "./store-contract.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), "tilewright-"));
});
afterAll(() => rm(root, { recursive: true }));

// S3Store is held to the same contract by test/s3, against a server.
let made = 0;
describeStoreContract("memory", async () => new MemoryStore());
describeStoreContract("fs", async () => new FsStore(path.join(root, `store-${++made}`)));

describe("fs", () => {
  let store: FsStore;
  afterEach(() => store.close());

  test("a directory is not an object, and unfinished files are not listed", async () => {
    store = new FsStore(path.join(root, "fs-1"));
    await store.put("d/a", bytes("x"));
    expect(await store.head("d")).toBeUndefined();
    await writeFile(path.join(root, "fs-1", "d", ".tilewright-writing-1"), "half");
    expect(await keys(store, "")).toEqual(["d/a"]);
  });

  test("a failed write leaves nothing behind", async () => {
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

  test.skipIf(process.platform !== "linux")(
    "reads on their way when it is closed leave no file open",
    async () => {
      store = new FsStore(path.join(root, "fs-closed"));
      const names = Array.from({ length: 8 }, (_, i) => `f${i}`);
      for (const name of names) await store.put(name, bytes(name));
      const openFiles = async () => {
        const links = (await readdir("/proc/self/fd")).map((fd) =>
          readlink(`/proc/self/fd/${fd}`).catch(() => ""),
        );
        return (await Promise.all(links)).filter((target) => target.startsWith(store.root));
      };
      const reads = names.map((name) => store.getRange(name, 0, 2));
      await store.close();
      expect((await Promise.all(reads)).map((read) => text(read))).toEqual(names);
      expect(text(await store.getRange("f3", 0, 2))).toBe("f3");
      await expect.poll(openFiles).toEqual([]);
    },
  );

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
