import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { HttpError } from "../../service/http-error.ts";
import { discardBody } from "../../service/read-body.ts";

/** What is read of a body that is refused; of a larger one the connection is closed. */
const MAX_DISCARDED_BYTES = 8 * 2 ** 20;

/**
 * Refuses larger bodies, and reads them to tell so: answered before, the connection would break, and with it the sentence
 * or the next request.
 * @param advice ends the sentence, beginning with its punctuation
 */
export function limitBody(maxBytes: number, advice = ""): MiddlewareHandler {
  return bodyLimit({
    maxSize: maxBytes,
    onError: async (c) => {
      await discardBody(c.req.raw, { maxBytes: MAX_DISCARDED_BYTES }).catch(() => {});
      throw new HttpError(413, "too_large", `the body may have at most ${maxBytes} bytes${advice}`);
    },
  });
}
