import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bytes, describeStoreContract, keys } from "../storage/store-contract.ts";
import { type Bundle, bundleWorker, runWorker } from "./run-worker.ts";
import { RemoteStore } from "./store-worker/remote-store.ts";

/** R2Store inside workerd, against R2 as it is emulated there. */
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

test("a listing goes on where its page ends", async () => {
  const store = await open();
  // The Worker asks for three at a time.
  const names = Array.from({ length: 10 }, (_, i) => `k${i}`);
  for (const name of names) await store.put(name, bytes("x"));
  expect(await keys(store, "")).toEqual(names);
});
