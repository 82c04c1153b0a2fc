import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ObjectChangedError } from "../../src/storage/errors.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import type { ListedObject } from "../../src/storage/object-store.ts";
import { prefixEtag } from "../../src/storage/prefix-etag.ts";
import { snapshotStore } from "../../src/storage/snapshot-store.ts";
import { keys } from "./store-contract.ts";

const object = fc.record({
  key: fc.string({ minLength: 1, maxLength: 8 }),
  etag: fc.stringMatching(/^[0-9a-f]{4}$/),
  byteLength: fc.nat(1000),
});
const objects = fc.uniqueArray(object, { minLength: 1, maxLength: 8, selector: ({ key }) => key });

describe("the etag of a prefix", () => {
  test("is the same in any order, with and without quotes", async () => {
    await fc.assert(
      fc.asyncProperty(objects, fc.infiniteStream(fc.nat()), async (listed, random) => {
        const shuffled = listed
          .map((o) => ({ o: { ...o, etag: `"${o.etag}"` }, at: random.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ o }) => o);
        expect(await prefixEtag(shuffled)).toBe(await prefixEtag(listed));
      }),
    );
  });

  test("changes when any object is added, removed, renamed or rewritten", async () => {
    await fc.assert(
      fc.asyncProperty(objects, object, fc.nat(), async (listed, other, n) => {
        const at = n % listed.length;
        const before = await prefixEtag(listed);
        expect(await prefixEtag(listed.toSpliced(at, 1))).not.toBe(before);
        if (!listed.some(({ key }) => key === other.key))
          expect(await prefixEtag([...listed, other])).not.toBe(before);
        const old = listed[at]!;
        const changes: ListedObject[] = [
          { ...old, etag: `${old.etag}0` },
          { ...old, byteLength: old.byteLength + 1 },
          { ...old, key: `${old.key}${listed.map(({ key }) => key).join("")}x` },
        ];
        for (const changed of changes) expect(await prefixEtag(listed.with(at, changed))).not.toBe(before);
      }),
    );
  });

  test("does not confuse parts of different names", async () => {
    const one = { etag: "e", byteLength: 1 };
    expect(await prefixEtag([{ key: 'a","e",1],["b', ...one }])).not.toBe(
      await prefixEtag([
        { key: "a", ...one },
        { key: "b", ...one },
      ]),
    );
  });
});

describe("a snapshot", () => {
  const store = () => new MemoryStore({ "a/1": new Uint8Array([1]), "a/2": new Uint8Array([2, 3]) });
  const listed = async (inner: MemoryStore, key: string) => ({ key, ...(await inner.head(key))! });

  test("holds what was listed, and nothing that came later", async () => {
    const inner = store();
    const snapshot = snapshotStore(inner, [await listed(inner, "a/2"), await listed(inner, "a/1")]);
    await inner.put("a/3", new Uint8Array(1));
    expect(await keys(snapshot, "a/")).toEqual(["a/1", "a/2"]);
    expect(await keys(snapshot, "b")).toEqual([]);
    expect(await snapshot.head("a/2")).toEqual(await inner.head("a/2"));
    expect((await snapshot.get("a/2"))!.bytes).toEqual(new Uint8Array([2, 3]));
    for (const absent of ["a/3", "a"]) {
      expect(await snapshot.head(absent)).toBeUndefined();
      expect(await snapshot.get(absent)).toBeUndefined();
      expect(await snapshot.getRange(absent, 0, 1)).toBeUndefined();
    }
  });

  test("lets a reader notice a replaced object", async () => {
    const inner = store();
    const snapshot = snapshotStore(inner, [await listed(inner, "a/1")]);
    const { etag } = (await snapshot.head("a/1"))!;
    await inner.put("a/1", new Uint8Array([9]));
    await expect(snapshot.getRange("a/1", 0, 1, { ifMatch: etag })).rejects.toBeInstanceOf(
      ObjectChangedError,
    );
  });
});
