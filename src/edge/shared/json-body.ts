import type { MiddlewareHandler } from "hono";
import { HttpError } from "../../service/http-error.ts";

/** Checks that the body is JSON, by its type and its bytes. @throws {HttpError} 415, 400 */
export const jsonBody: MiddlewareHandler = async (c, next) => {
  const type = c.req.header("Content-Type")?.replace(/;.*/s, "").trim().toLowerCase();
  if (!/^application\/(?:[\w.-]+\+)?json$/.test(type ?? "")) {
    throw new HttpError(
      415,
      "wrong_type",
      `the body must be application/json, not ${type ? "another type" : "of no type"}`,
    );
  }
  const bytes = await c.req.arrayBuffer().catch(() => {
    throw new HttpError(400, "bad_message", "the body ended before it was complete");
  });
  parseJson(bytes);
  await next();
};

/** @throws {HttpError} 400 where the bytes are not UTF-8 or JSON, or a string is not well-formed Unicode */
export function parseJson(bytes: ArrayBuffer | Uint8Array): unknown {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new HttpError(400, "bad_request", "the body is not valid JSON in UTF-8");
  }
  rejectLoneSurrogates(value);
  return value;
}

/** JSON may hold lone surrogates, which addresses and file names cannot. */
export function rejectLoneSurrogates(value: unknown): void {
  const left: unknown[] = [value];
  while (left.length > 0) {
    const one = left.pop();
    if (typeof one === "string" ? !one.isWellFormed() : isObject(one) && !Object.keys(one).every(isText)) {
      throw new HttpError(400, "bad_request", "the body holds a lone surrogate (half of a UTF-16 pair)");
    }
    if (isObject(one)) for (const inner of Object.values(one)) left.push(inner);
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function isText(text: string): boolean {
  return text.isWellFormed();
}
