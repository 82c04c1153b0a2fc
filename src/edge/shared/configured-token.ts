import { MIN_TOKEN_LENGTH } from "../../service/bearer.ts";
import { Problem } from "../../service/problem.ts";

/** @throws {Problem} 503 while no token worth the name is configured: an open door is never the default */
export function configuredToken(token: string | undefined): string {
  if (token && token.length >= MIN_TOKEN_LENGTH) return token;
  throw new Problem(
    503,
    "not_configured",
    `this Worker has no token of at least ${MIN_TOKEN_LENGTH} characters yet; set one with "wrangler secret put TOKEN"`,
  );
}
