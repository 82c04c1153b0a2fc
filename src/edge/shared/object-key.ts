/** S3's and R2's own limit, in bytes of UTF-8. */
const MAX_KEY_BYTES = 1024;

/**
 * Whether a key is one that this service reads: relative, without empty, "." or ".." segments, control characters or
 * broken UTF-16. Buckets may hold others, which are nobody's scans.
 */
export function isObjectKey(key: string): boolean {
  if (key === "" || key.length > MAX_KEY_BYTES || /[\p{Cc}\p{Surrogate}]/u.test(key)) return false;
  if (key.split("/").some((segment) => segment === "" || segment === "." || segment === "..")) return false;
  return new TextEncoder().encode(key).length <= MAX_KEY_BYTES;
}

/** Whether a key lies where the service itself writes. */
export function isReservedKey(key: string): boolean {
  return key.startsWith("work/") || key.startsWith("results/");
}
