import { Problem } from "../../service/problem.ts";
import { joinBytes } from "../../storage/join-bytes.ts";

/**
 * A body as UTF-8 text. Its length need not be stated: not every sender of events does, so bytes are counted as they come.
 * @throws {Problem} 413 as soon as more than `maxBytes` are stated or read, 400 for what is no UTF-8
 */
export async function readText(request: Request, maxBytes: number): Promise<string> {
  if (Number(request.headers.get("Content-Length") ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Uint8Array[] = [];
  let total = 0;
  const reader = request.body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read().catch(brokenOff)) ?? { done: true };
    if (done || value === undefined) break;
    total += value.length;
    if (total > maxBytes) {
      await reader?.cancel().catch(() => {});
      throw tooLarge(maxBytes);
    }
    chunks.push(value);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(joinBytes(chunks));
  } catch {
    throw new Problem(400, "bad_message", "the body is not UTF-8");
  }
}

function brokenOff(): never {
  throw new Problem(400, "bad_message", "the body broke off before its end");
}

function tooLarge(maxBytes: number): Problem {
  return new Problem(413, "too_large", `the body has more than the ${maxBytes} bytes that are allowed`);
}
