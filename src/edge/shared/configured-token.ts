import { MIN_TOKEN_LENGTH } from "../../service/bearer.ts";
import { HttpError } from "../../service/http-error.ts";

/** @throws {HttpError} 503 while no token of sufficient length is configured: there is no access without a token */
export function configuredToken(token: string | undefined): string {
  if (token && token.length >= MIN_TOKEN_LENGTH) return token;
  throw new HttpError(
    503,
    "not_configured",
    `this Worker has no token of at least ${MIN_TOKEN_LENGTH} characters yet; set one with "wrangler secret put TOKEN"`,
  );
}
