import { describe, expect, test } from "vitest";
import { openSourceStore } from "../../src/edge/sources/open-source-store.ts";
import { ObjectChangedError } from "../../src/storage/errors.ts";
import { bytes, text } from "../storage/store-contract.ts";
import { endpoint, makeBucket, openStore } from "./server.ts";

const KEYS = {
  accessKeyId: process.env.AWS_ACCESS_KEY_ID!,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY!,
};

/** Opens a source like the job service: by address, with the keys of its configuration. */
function open(bucket: string, key: string, keys: Record<string, string> | undefined = KEYS) {
  const env = {
    SOURCES: JSON.stringify([{ kind: "s3", bucket, endpoint }]),
    SOURCE_KEYS: JSON.stringify(keys ? { [bucket]: keys } : {}),
  };
  return openSourceStore(env, `s3://${bucket}/${key}`).store;
}

const NAMES = [
  "a.svs",
  "größe 1/case #2/a+b & c?d.svs",
  "100%25 (1)!*'~.svs",
  "日本/語=.svs",
  "a:b@c;d,e$.svs",
];

test.each(NAMES)("the job service reads %s that the SDK wrote", async (key) => {
  const bucket = await makeBucket();
  const written = openStore(bucket);
  await written.put(key, bytes("0123456789"));
  const store = open(bucket, key);
  const info = (await store.head(key))!;
  expect(info).toEqual(await written.head(key));
  expect(text(await store.getRange(key, 3, 4, { ifMatch: info.etag }))).toBe("3456");
  expect(text(await store.getRange(key, -4, 4))).toBe("6789");
  expect(text(await store.getRange(key, 20, 4))).toBe("");
  expect(text((await store.get(key))?.bytes)).toBe("0123456789");
  expect(await store.head(`${key}2`)).toBeUndefined();

  await written.put(key, bytes("9876543210"));
  await expect(store.getRange(key, 0, 1, { ifMatch: info.etag })).rejects.toThrow(ObjectChangedError);
});

describe("reports denied access, without the keys", () => {
  test.each([
    ["a wrong secret", { ...KEYS, secretAccessKey: "not-the-secret" }, "SOURCE_KEYS"],
    ["an unknown key", { accessKeyId: "nobody", secretAccessKey: "not-the-secret" }, "SOURCE_KEYS"],
  ])("%s", async (_, keys, advice) => {
    const bucket = await makeBucket();
    await openStore(bucket).put("a.svs", bytes("x"));
    const store = open(bucket, "a.svs", keys);
    for (const call of [() => store.head("a.svs"), () => store.getRange("a.svs", 0, 1)]) {
      const error = await call().catch((e: Error) => e);
      expect(error).toBeInstanceOf(Error);
      expect((error as Error).message).toContain(advice);
      expect((error as Error).message).not.toMatch(/not-the-secret|nobody|Signature/);
    }
  });
});
