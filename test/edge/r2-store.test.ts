import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bytes, describeStoreContract, keys } from "../storage/store-contract.ts";
import { type Bundle, bundleWorker, runWorker } from "./run-worker.ts";
import { RemoteStore } from "./store-worker/remote-store.ts";

/** R2Store inside workerd, against its emulated R2. */
let bundle: Bundle;
let worker: Miniflare;
let url: URL;
beforeAll(async () => {
  bundle = await bundleWorker("test/edge/store-worker/wrangler.toml");
  worker = await runWorker(bundle, { buckets: ["BUCKET"] });
  url = await worker.ready;
});
afterAll(async () => {
  await worker?.dispose();
  await bundle?.remove();
});

let made = 0;
const open = async () => new RemoteStore(url, `store-${++made}/`);
describeStoreContract("r2", open);

test("a listing continues after a page", async () => {
  const store = await open();
  // The Worker requests three at a time.
  const names = Array.from({ length: 10 }, (_, i) => `k${i}`);
  for (const name of names) await store.put(name, bytes("x"));
  expect(await keys(store, "")).toEqual(names);
});

test("a listing has the same etags and sizes as head", async () => {
  const store = await open();
  for (let i = 0; i < 7; i++) await store.put(`a/${i}`, bytes("x".repeat(i)));
  await store.put("b", bytes("x"));
  const listed = await store.objects("a/");
  expect(listed.map(({ key }) => key)).toEqual(Array.from({ length: 7 }, (_, i) => `a/${i}`));
  for (const { key, ...info } of listed) expect(info).toEqual(await store.head(key));
});

test("an object above the limit is read by range only", async () => {
  const prefix = `store-${++made}/`;
  const store = new RemoteStore(url, prefix, 4);
  await store.put("small", bytes("1234"));
  await store.put("large", bytes("12345"));
  expect((await store.get("small"))!.byteLength).toBe(4);
  await expect(store.get("large")).rejects.toMatchObject({ name: "StorageError", retryable: false });
  expect(await store.getRange("large", 0, 5)).toEqual(bytes("12345"));
});
