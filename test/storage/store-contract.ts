import { describe, expect, test } from "vitest";
import { ObjectChangedError } from "../../src/storage/errors.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";

export type OpenStore = () => Promise<ObjectStore & { close?(): Promise<void> }>;

export const bytes = (text: string) => new TextEncoder().encode(text);
export const text = (b: Uint8Array | undefined) => b && new TextDecoder().decode(b);
export const keys = async (store: ObjectStore, prefix: string) => {
  const found: string[] = [];
  for await (const key of store.list(prefix)) found.push(key);
  return found;
};

/** What every store must do. `open` gives an empty one each time. */
export function describeStoreContract(
  name: string,
  open: OpenStore,
  { conditionalWritesAreAtomic = true } = {},
): void {
  describe(`the store contract: ${name}`, () => {
    test("reads back what was put, whole and in parts", async () => {
      const store = await open();
      expect(await store.put("a/b.txt", bytes("0123456789"))).toBe(true);
      const info = await store.head("a/b.txt");
      expect(info?.byteLength).toBe(10);
      const object = await store.get("a/b.txt");
      expect(object).toEqual({ ...info, bytes: bytes("0123456789") });
      const range = async (offset: number, length: number) =>
        text(await store.getRange("a/b.txt", offset, length, { ifMatch: info!.etag }));
      expect(await range(2, 3)).toBe("234");
      expect(await range(8, 10)).toBe("89");
      expect(await range(-4, 4)).toBe("6789");
      expect(await range(-4, 2)).toBe("67");
      expect(await range(-50, 3)).toBe("012");
      expect(await range(3, 0)).toBe("");
      expect(await range(10, 1)).toBe("");
      expect(await range(50, 5)).toBe("");
      await store.close?.();
    });

    test("an empty object exists and has no bytes", async () => {
      const store = await open();
      await store.put("empty", bytes(""));
      expect((await store.head("empty"))?.byteLength).toBe(0);
      expect((await store.get("empty"))?.bytes).toEqual(bytes(""));
      expect(await store.getRange("empty", 0, 5)).toEqual(bytes(""));
      expect(await store.getRange("empty", -5, 5)).toEqual(bytes(""));
      await store.close?.();
    });

    test("a missing key is undefined, also through a file", async () => {
      const store = await open();
      await store.put("a", bytes("x"));
      for (const key of ["b", "a/b", "c/d/e"]) {
        expect(await store.head(key)).toBeUndefined();
        expect(await store.get(key)).toBeUndefined();
        expect(await store.getRange(key, 0, 5)).toBeUndefined();
      }
      await store.close?.();
    });

    test("the etag changes with the object, also at equal size", async () => {
      const store = await open();
      await store.put("a", bytes("first"));
      const etag = (await store.head("a"))!.etag;
      expect(text(await store.getRange("a", 0, 5, { ifMatch: etag }))).toBe("first");
      await store.put("a", bytes("other"));
      expect((await store.head("a"))!.etag).not.toBe(etag);
      await expect(store.getRange("a", 0, 5, { ifMatch: etag })).rejects.toThrow(ObjectChangedError);
      await expect(store.getRange("a", -5, 5, { ifMatch: etag })).rejects.toThrow(ObjectChangedError);
      expect(text(await store.getRange("a", 0, 5))).toBe("other");
      await store.close?.();
    });

    test("put only if absent", async () => {
      const store = await open();
      expect(await store.put("a", bytes("1"), { ifNoneMatch: "*" })).toBe(true);
      expect(await store.put("a", bytes("2"), { ifNoneMatch: "*" })).toBe(false);
      expect(text((await store.get("a"))?.bytes)).toBe("1");
      await store.close?.();
    });

    test.runIf(conditionalWritesAreAtomic)("of several who put only if absent, one does", async () => {
      const store = await open();
      const raced = await Promise.all(
        ["x", "y", "z"].map((v) => store.put("race", bytes(v), { ifNoneMatch: "*" })),
      );
      expect(raced.filter(Boolean)).toHaveLength(1);
      await store.close?.();
    });

    test("keys come in lexical order, by any prefix", async () => {
      const store = await open();
      const all = ["a", "b-1", "b/1", "b/2/x", "b/2.txt", "b0", "é/ö 😐"];
      for (const key of [...all].reverse()) await store.put(key, bytes(key));
      expect(await keys(store, "")).toEqual([...all].sort());
      expect(await keys(store, "b/")).toEqual(["b/1", "b/2.txt", "b/2/x"]);
      expect(await keys(store, "b/2")).toEqual(["b/2.txt", "b/2/x"]);
      expect(await keys(store, "nothing")).toEqual([]);
      await store.close?.();
    });

    test.each(["é/ö 😐", "two  blanks /.hidden", "a+b&c=d?e#f", "100%/%20", "<k>'\"/$@,;:!*()~[]{}|^`"])(
      "the key %s is taken as it is",
      async (key) => {
        const store = await open();
        await store.put(key, bytes(key));
        expect((await store.head(key))?.byteLength).toBe(bytes(key).length);
        expect(text((await store.get(key))?.bytes)).toBe(key);
        expect(text(await store.getRange(key, 0, 100))).toBe(key);
        expect(await keys(store, "")).toEqual([key]);
        expect(await keys(store, key)).toEqual([key]);
        await store.close?.();
      },
    );

    test("rejects keys that lead out of the store", async () => {
      const store = await open();
      for (const key of ["../x", "a/../x", "/etc/passwd", "a//b", "", ".", "a\0b"]) {
        await expect(store.put(key, bytes("x"))).rejects.toThrow(TypeError);
      }
      await store.close?.();
    });

    test("an aborted call rejects", async () => {
      const store = await open();
      await store.put("a", bytes("x"));
      const signal = AbortSignal.abort();
      await expect(store.get("a", { signal })).rejects.toThrow();
      await expect(store.put("a", bytes("y"), { signal })).rejects.toThrow();
      expect(text((await store.get("a"))?.bytes)).toBe("x");
      await store.close?.();
    });
  });
}
