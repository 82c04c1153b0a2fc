import path from "node:path";
import { FsStore } from "./fs-store.ts";
import { HttpStore } from "./http-store.ts";
import type { OpenedAddress } from "./opened-address.ts";
import { withRetry } from "./retry.ts";
import { parseSourceAddress } from "./source-address.ts";

/**
 * Turns the address that a user gave (path, `file://`, `http(s)://`, `s3://bucket/key`) into a store and a key. Node
 * only. It opens nothing and does not check that the object exists.
 */
export async function openAddress(source: string): Promise<OpenedAddress> {
  const address = parseSourceAddress(source);
  switch (address.scheme) {
    case "file": {
      const whole = path.resolve(address.path);
      const store = new FsStore(path.dirname(whole));
      const key = path.basename(whole);
      if (key === "") throw new TypeError(`${source} is the root directory, not an image`);
      return { store, key, name: key, close: () => store.close() };
    }
    case "http": {
      const store = withRetry(new HttpStore(address.base, { search: address.search }));
      return { store, key: address.key, name: address.key, close: async () => {} };
    }
    case "s3": {
      // Loaded only for buckets: the AWS SDK takes a quarter of a second.
      const { S3Store } = await import("./s3-store.ts");
      const slash = address.key.lastIndexOf("/");
      const store = new S3Store(address.bucket, { prefix: address.key.slice(0, slash + 1) });
      const key = address.key.slice(slash + 1);
      return { store: withRetry(store), key, name: key, close: () => store.close() };
    }
  }
}
