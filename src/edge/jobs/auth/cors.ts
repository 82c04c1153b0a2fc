import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { HttpError } from "../../../service/http-error.ts";
import type { Bindings } from "../context/bindings.ts";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const SENT = ["Authorization", "Content-Type", "Range", "If-Match", "If-None-Match", "If-Range"];
const SHOWN = ["ETag", "Content-Length", "Content-Range", "Accept-Ranges", "Last-Modified", "Retry-After"];

/**
 * Origins of pages on other hosts that may call the service, from CORS_ORIGINS: separated by commas, or `*`.
 * @throws {HttpError} 503 if an entry is not an origin; one with a slash or a path would never match
 */
export function parseCorsOrigins({ CORS_ORIGINS = "" }: Pick<Bindings, "CORS_ORIGINS">): ReadonlySet<string> {
  const origins = CORS_ORIGINS.split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "");
  for (const origin of origins) {
    if (origin === "*") continue;
    if (
      !URL.canParse(origin) ||
      !/^https?:/.test(origin) ||
      origin.includes("*") ||
      new URL(origin).origin !== origin
    )
      throw new HttpError(
        503,
        "not_configured",
        `CORS_ORIGINS must be origins such as https://avivator.gehlenborglab.org, separated by commas; ${origin.slice(0, 80)} is none`,
      );
  }
  return new Set(origins);
}

/**
 * Lets pages of other hosts read responses. Cookies are never used, so no page can act for somebody who is signed in: it
 * needs a token or a read link of its own.
 */
export function allowOrigins(): MiddlewareHandler<{ Bindings: Bindings }> {
  return async (c, next) => {
    const origins = parseCorsOrigins(c.env);
    if (origins.size === 0) return next();
    const origin = origins.has("*") ? "*" : [...origins];
    return cors({ origin, allowMethods: METHODS, allowHeaders: SENT, exposeHeaders: SHOWN, maxAge: 600 })(
      c,
      next,
    );
  };
}
