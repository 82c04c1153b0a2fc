import { readBytesBounded } from "../../shared/read-bytes-bounded.ts";

const TIMEOUT_MS = 4000;

/**
 * Fetches a small text from an address that was checked. It follows no redirects, because they could lead anywhere.
 * @returns undefined where the response is not 200, has more than `maxBytes`, or does not arrive in time
 */
export async function fetchTextBounded(
  href: string,
  maxBytes: number,
  fetch: typeof globalThis.fetch,
): Promise<string | undefined> {
  try {
    // workerd does not support redirect: "error".
    const response = await fetch(href, { redirect: "manual", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.status !== 200) {
      await response.body?.cancel();
      return undefined;
    }
    return new TextDecoder().decode(await readBytesBounded(response.body, maxBytes));
  } catch {
    return undefined;
  }
}
