const TIMEOUT_MS = 4000;

/**
 * A small text from an address that was checked. Redirects are refused: they would leave what was checked.
 * @returns undefined where the answer is not 200, is longer than `maxBytes` or does not come in time
 */
export async function fetchSmall(
  href: string,
  maxBytes: number,
  fetch: typeof globalThis.fetch,
): Promise<string | undefined> {
  try {
    // workerd knows no redirect: "error".
    const response = await fetch(href, { redirect: "manual", signal: AbortSignal.timeout(TIMEOUT_MS) });
    const reader = response.body?.getReader();
    const decoder = new TextDecoder();
    let text = "";
    let total = response.status === 200 ? 0 : Number.POSITIVE_INFINITY;
    while (total <= maxBytes) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done || value === undefined) return text + decoder.decode();
      total += value.length;
      text += decoder.decode(value, { stream: true });
    }
    await reader?.cancel();
    return undefined;
  } catch {
    return undefined;
  }
}
