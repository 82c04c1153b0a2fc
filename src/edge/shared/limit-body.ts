import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { HttpError } from "../../service/http-error.ts";
import { discardBody } from "../../service/read-body.ts";

/** Bytes of a rejected body that are read; a larger body closes the connection. */
const MAX_DISCARDED_BYTES = 8 * 2 ** 20;

/**
 * Rejects larger bodies after reading them: a response before the end of the body would break the connection, and the
 * client would get neither the error nor its next response.
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
