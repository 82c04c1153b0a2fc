/** Parameters that sign an address and differ each time. */
const SIGNATURE = /^x-(amz|goog)-/i;

/**
 * Where a source on a web server comes from, for its job's identity: an etag tells versions of one address apart and
 * says nothing about two addresses (RFC 9110, 8.8.3). Undefined for files and buckets, whose etags come from content or
 * place.
 */
export function sourceOrigin(source: string): string | undefined {
  if (!/^https?:\/\//i.test(source)) return undefined;
  const url = new URL(source);
  for (const name of [...url.searchParams.keys()]) {
    if (SIGNATURE.test(name)) url.searchParams.delete(name);
  }
  url.username = "";
  url.password = "";
  url.hash = "";
  return url.href;
}
