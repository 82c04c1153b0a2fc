import { AwsV4Signer } from "aws4fetch";
import { StorageError } from "../../storage/errors.ts";
import type { BucketSource } from "./source-settings.ts";

/**
 * A `fetch` for one S3 bucket, signed where there are keys. It signs only host, date and payload, because the platform may
 * set headers like Accept-Encoding. It rejects redirects, so keys never leave the endpoint.
 */
export function signedFetch(
  bucket: string,
  { region, keys }: BucketSource,
  fetch: typeof globalThis.fetch,
): typeof globalThis.fetch {
  /** Derived signing keys, valid for a day. */
  const cache = new Map<string, ArrayBuffer>();
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const headers = new Headers(init?.headers);
    if (keys) {
      const signer = new AwsV4Signer({ ...keys, url, method: "GET", service: "s3", region, cache });
      for (const [name, value] of (await signer.sign()).headers) headers.set(name, value);
    }
    const response = await fetch(url, { ...init, headers, redirect: "manual" });
    const denial = describeDenial(response.status, bucket, keys !== undefined);
    if (denial === undefined) return response;
    await response.body?.cancel().catch(() => {});
    throw new StorageError(denial, { retryable: false });
  };
}

function describeDenial(status: number, bucket: string, hasKeys: boolean): string | undefined {
  if (status >= 300 && status < 400 && status !== 304) {
    return `the endpoint of bucket ${bucket} responds ${status}, as for a bucket of another region; check its endpoint and region in SOURCES`;
  }
  if (status !== 401 && status !== 403) return undefined;
  return hasKeys
    ? `the keys of bucket ${bucket} give no access to this object; check that it exists, SOURCE_KEYS, and the region in SOURCES`
    : `bucket ${bucket} is not public; set its keys in SOURCE_KEYS`;
}
