import type { R2Bucket } from "@cloudflare/workers-types";
import { HttpError } from "../../service/http-error.ts";
import { HttpStore } from "../../storage/http-store.ts";
import type { ListedObject, ObjectStore, ReadOptions } from "../../storage/object-store.ts";
import { R2Store } from "../../storage/r2-store.ts";
import { withRetry } from "../../storage/retry.ts";
import { isObjectKey, isReservedKey } from "../shared/object-key.ts";
import { allowedFetch, isAllowed, sourceRefusedError } from "./allowed-fetch.ts";
import { listBucket } from "./list-bucket.ts";
import { signedFetch } from "./signed-fetch.ts";
import { parseSourceSettings } from "./source-settings.ts";
import { withUnwrappedErrors } from "./unwrapped-errors.ts";

/** Maximum size of objects read whole: metadata and chunks of a Zarr, files of web servers without ranges. An isolate has 128 MiB. */
const MAX_WHOLE_BYTES = 16 * 2 ** 20;
const MAX_URI_LENGTH = 2048;

/** The bindings for sources, in both Workers. */
export interface SourceBindings {
  SCANS?: R2Bucket;
  SCANS_BUCKET?: string;
  RESULTS_BUCKET?: string;
  SOURCES?: string;
  SOURCE_KEYS?: string;
}

/** An object or prefix that may be read. No request was sent yet. */
export interface SourceStore {
  store: ObjectStore;
  /** Key of the object in `store`, or prefix of the objects below `<key>/`. */
  key: string;
  /** Lists the objects below a prefix; undefined for web servers, which have no listings. */
  objects?: (prefix: string, options?: ReadOptions) => AsyncIterable<ListedObject>;
  /** Last part of the address, for file names. */
  name: string;
  /** The address to show and compare, without its query, which may be a signature. To read again, open the given address. */
  uri: string;
}

/**
 * Opens `r2://<SCANS_BUCKET>/key`, `s3://bucket/key` of a configured bucket or `https://host/path` of a configured host.
 * @throws {HttpError} 422 `source_refused` for any other; 503 where bindings are wrong. Reading may throw the same 422,
 *   because a server may redirect
 */
export function openSourceStore(
  env: SourceBindings,
  uri: string,
  deps: { fetch?: typeof globalThis.fetch } = {},
): SourceStore {
  // A plain function: workerd's fetch must not be called as a method of another object.
  const { fetch = globalThis.fetch } = deps;
  if (uri.length > MAX_URI_LENGTH) {
    throw sourceRefusedError(`the address of the source is longer than ${MAX_URI_LENGTH} characters`);
  }
  const [, scheme, rest = ""] = /^([a-z][a-z0-9+.-]{0,15}):\/\/(.+)$/is.exec(uri) ?? [];
  switch (scheme?.toLowerCase()) {
    case "r2":
      return openScans(env, rest);
    case "s3":
      return openBucket(env, rest, fetch);
    case "https":
    case "http":
      return openAddress(env, uri, fetch);
    default:
      throw sourceRefusedError("the source must be r2://bucket/key, s3://bucket/key or https://host/path");
  }
}

function openScans(env: SourceBindings, rest: string): SourceStore {
  const { bucket, key } = splitBucket(rest);
  if (!env.SCANS_BUCKET || typeof env.SCANS?.get !== "function") {
    throw new HttpError(
      503,
      "not_configured",
      "the Worker's bindings SCANS and SCANS_BUCKET must be an R2 bucket and its name",
    );
  }
  // Also a prefix that contains results.
  const isResult = bucket === env.RESULTS_BUCKET && isReservedKey(`${key}/`);
  if (bucket !== env.SCANS_BUCKET || isResult) {
    throw sourceRefusedError(
      `r2://${bucket} is not a source: R2 sources must be in r2://${env.SCANS_BUCKET}, outside its results`,
    );
  }
  const store = new R2Store(env.SCANS, { maxWholeBytes: MAX_WHOLE_BYTES });
  const objects: SourceStore["objects"] = (prefix, options) => store.objects(prefix, options);
  return { ...opened(store, key, `r2://${bucket}/${key}`), objects };
}

function openBucket(env: SourceBindings, rest: string, fetch: typeof globalThis.fetch): SourceStore {
  const { bucket, key } = splitBucket(rest);
  const source = parseSourceSettings(env).buckets.get(bucket);
  if (!source) throw sourceRefusedError(`bucket ${bucket} is not in the allow-list (SOURCES)`);
  const signed = signedFetch(bucket, source, fetch);
  const url = `${source.endpoint}/${bucket}`;
  const store = new HttpStore(url, { fetch: signed, maxWholeBytes: MAX_WHOLE_BYTES });
  const objects: SourceStore["objects"] = (prefix, options) => listBucket(url, prefix, signed, options);
  return { ...opened(withUnwrappedErrors(store), key, `s3://${bucket}/${key}`), objects };
}

function openAddress(env: SourceBindings, uri: string, fetch: typeof globalThis.fetch): SourceStore {
  if (!URL.canParse(uri)) throw sourceRefusedError("the address of the source is invalid");
  const url = new URL(uri);
  const { hosts } = parseSourceSettings(env);
  if (!isAllowed(url, hosts)) throw sourceRefusedError(`host ${url.host} is not in the allow-list (SOURCES)`);
  const path = url.pathname.replace(/\/+$/, "");
  const slash = path.lastIndexOf("/");
  const key = decoded(path.slice(slash + 1));
  if (key.includes("/") || !isObjectKey(key))
    throw sourceRefusedError("the address of the source names no file");
  const store = new HttpStore(url.origin + path.slice(0, slash + 1), {
    fetch: allowedFetch(hosts, fetch),
    search: url.search.slice(1),
    maxWholeBytes: MAX_WHOLE_BYTES,
  });
  return opened(withUnwrappedErrors(store), key, url.origin + path);
}

function opened(store: ObjectStore, key: string, uri: string): SourceStore {
  return { store: withRetry(store), key, name: key.slice(key.lastIndexOf("/") + 1), uri };
}

/** Keys are not URL-encoded. A trailing "/" of a prefix is dropped. */
function splitBucket(rest: string): { bucket: string; key: string } {
  const slash = rest.indexOf("/");
  const bucket = rest.slice(0, slash);
  const key = rest.slice(slash + 1).replace(/\/+$/, "");
  if (slash < 1 || !/^[\w.-]{1,255}$/.test(bucket) || !isObjectKey(key)) {
    throw sourceRefusedError(
      "the address of the source must name a bucket and a key without empty, . or .. parts",
    );
  }
  return { bucket, key };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
