/** Limit of S3 and R2, in bytes of UTF-8. */
const MAX_KEY_BYTES = 1024;

/**
 * Whether this service reads objects of this key: relative, without empty, "." or ".." segments, control characters or
 * lone surrogates.
 */
export function isObjectKey(key: string): boolean {
  if (key === "" || key.length > MAX_KEY_BYTES || /[\p{Cc}\p{Surrogate}]/u.test(key)) return false;
  if (key.split("/").some((segment) => segment === "" || segment === "." || segment === "..")) return false;
  return new TextEncoder().encode(key).length <= MAX_KEY_BYTES;
}

/** Whether the service itself writes below this key. */
export function isReservedKey(key: string): boolean {
  return key.startsWith("work/") || key.startsWith("results/");
}
