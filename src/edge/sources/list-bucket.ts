import { StorageError } from "../../storage/errors.ts";
import type { ListedObject, ReadOptions } from "../../storage/object-store.ts";
import { readXml, xmlElement } from "../shared/s3-xml.ts";

/** Of a thousand keys each, as servers send them: far more than a source may have objects. */
const MAX_PAGES = 200;
/** A thousand keys of a kilobyte, each byte of them escaped. */
const MAX_ANSWER_BYTES = 4 * 2 ** 20;

/**
 * Objects of a bucket of S3 below a prefix, in the order of the listing (ListObjectsV2).
 * @param fetch signs what it is given, see `signedFetch`
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
    // Keys may hold what XML cannot.
    const query = { "list-type": "2", "encoding-type": "url", prefix };
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    if (token !== undefined) url.searchParams.set("continuation-token", token);
    const xml = await ask(url, fetch, signal);
    const isEncoded = xmlElement(xml, "EncodingType") === "url";
    for (const [, contents] of xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
      yield objectOf(contents!, isEncoded);
    }
    const next =
      xmlElement(xml, "IsTruncated") === "true" ? xmlElement(xml, "NextContinuationToken") : undefined;
    if (next !== undefined && next === token) throw unusable("a listing that does not go on");
    if (next === undefined) return;
    token = next;
  }
}

async function ask(url: URL, fetch: typeof globalThis.fetch, signal?: AbortSignal): Promise<string> {
  let response: Response;
  try {
    response = await fetch(url.href.replaceAll("+", "%20"), { signal });
  } catch (cause) {
    if (signal?.aborted) throw signal.reason;
    if (cause instanceof StorageError) throw cause;
    throw new StorageError(`cannot reach ${url.host}; try again later`, { retryable: true, cause });
  }
  const xml = await readXml(response, MAX_ANSWER_BYTES).catch((cause: Error) => {
    if (signal?.aborted) throw signal.reason;
    throw new StorageError(`a listing by ${url.host} broke off (${cause.message}); try again later`, {
      retryable: true,
      cause,
    });
  });
  if (response.ok) return xml;
  const retryable = response.status >= 500 || response.status === 429;
  throw new StorageError(
    `${url.host} answers ${response.status} for a listing; ${retryable ? "try again later" : "check the bucket's endpoint and region in SOURCES"}`,
    { retryable },
  );
}

function objectOf(contents: string, isEncoded: boolean): ListedObject {
  const key = xmlElement(contents, "Key");
  const etag = xmlElement(contents, "ETag");
  const byteLength = Number(xmlElement(contents, "Size") ?? Number.NaN);
  if (!key || !etag || !Number.isSafeInteger(byteLength)) {
    throw unusable("an object without key, etag or size");
  }
  return { key: isEncoded ? decoded(key) : key, etag, byteLength };
}

function decoded(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", "%20"));
  } catch {
    throw unusable("a key that cannot be read");
  }
}

function unusable(what: string): StorageError {
  return new StorageError(`the S3 server sends ${what}; check its endpoint in SOURCES`, { retryable: false });
}
