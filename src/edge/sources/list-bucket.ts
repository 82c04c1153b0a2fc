import { childrenNamed, childText, type XmlElement } from "../../codecs/xml.ts";
import { StorageError } from "../../storage/errors.ts";
import type { ListedObject, ReadOptions } from "../../storage/object-store.ts";
import { readS3Xml } from "../shared/s3-xml.ts";

/** Servers send pages of 1000 keys; a source may have far fewer objects than all pages hold. */
const MAX_PAGES = 200;
/** 1000 keys of 1024 bytes, each byte escaped. */
const MAX_RESPONSE_BYTES = 4 * 2 ** 20;

/**
 * Lists the objects of an S3 bucket below a prefix, in the order of the server (ListObjectsV2).
 * @param fetch signs requests, see `signedFetch`
 * @throws {StorageError}
 */
export async function* listBucket(
  bucketUrl: string,
  prefix: string,
  fetch: typeof globalThis.fetch,
  { signal }: ReadOptions = {},
): AsyncGenerator<ListedObject> {
  let token: string | undefined;
  for (let page = 0; ; page++) {
    if (page === MAX_PAGES) throw unusable(`a listing of more than ${MAX_PAGES} pages`);
    const url = new URL(bucketUrl);
    // Keys may hold characters that XML cannot.
    const query = { "list-type": "2", "encoding-type": "url", prefix };
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    if (token !== undefined) url.searchParams.set("continuation-token", token);
    const listing = await requestListing(url, fetch, signal);
    const isEncoded = childText(listing, "EncodingType") === "url";
    for (const contents of childrenNamed(listing, "Contents")) yield parseObject(contents, isEncoded);
    const next =
      childText(listing, "IsTruncated") === "true" ? childText(listing, "NextContinuationToken") : undefined;
    if (next !== undefined && next === token) throw unusable("the same page of a listing again and again");
    if (next === undefined) return;
    token = next;
  }
}

async function requestListing(
  url: URL,
  fetch: typeof globalThis.fetch,
  signal?: AbortSignal,
): Promise<XmlElement> {
  let response: Response;
  try {
    response = await fetch(url.href.replaceAll("+", "%20"), { signal });
  } catch (cause) {
    if (signal?.aborted) throw signal.reason;
    if (cause instanceof StorageError) throw cause;
    throw new StorageError(`cannot reach ${url.host}; try again later`, { retryable: true, cause });
  }
  const listing = await readS3Xml(response, MAX_RESPONSE_BYTES).catch((cause: Error) => {
    if (signal?.aborted) throw signal.reason;
    throw new StorageError(`a listing by ${url.host} ended early (${cause.message}); try again later`, {
      retryable: true,
      cause,
    });
  });
  if (response.ok) {
    if (listing?.name !== "ListBucketResult") throw unusable("no listing");
    return listing;
  }
  const retryable = response.status >= 500 || response.status === 429;
  throw new StorageError(
    `${url.host} responds ${response.status} to a listing; ${retryable ? "try again later" : "check the bucket's endpoint and region in SOURCES"}`,
    { retryable },
  );
}

function parseObject(contents: XmlElement, isEncoded: boolean): ListedObject {
  const key = childText(contents, "Key");
  const etag = childText(contents, "ETag");
  const byteLength = Number(childText(contents, "Size") ?? Number.NaN);
  if (!key || !etag || !Number.isSafeInteger(byteLength)) {
    throw unusable("an object without key, etag or size");
  }
  return { key: isEncoded ? decodeKey(key) : key, etag, byteLength };
}

function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", "%20"));
  } catch {
    throw unusable("a key that is not URL-encoded");
  }
}

function unusable(what: string): StorageError {
  return new StorageError(`the S3 server sends ${what}; check its endpoint in SOURCES`, { retryable: false });
}
