import { equalInConstantTime } from "./constant-time.ts";
import { Problem } from "./problem.ts";

/** Shorter ones could be guessed. */
export const MIN_TOKEN_LENGTH = 16;

/**
 * Lets a request pass that carries the configured token.
 * @throws {Problem} 401, or 503 while no token worth the name is configured: an open door is never the default
 */
export async function requireBearer(
  authorization: string | undefined,
  token: string | undefined,
): Promise<void> {
  if (!token || token.length < MIN_TOKEN_LENGTH) {
    throw new Problem(
      503,
      "not_configured",
      `this Worker has no token of at least ${MIN_TOKEN_LENGTH} characters yet; set one with "wrangler secret put TOKEN"`,
    );
  }
  if (!(await equalInConstantTime(bearerOf(authorization), token))) throw unauthorized();
}

/** The token in an `Authorization` header; "" where there is none. */
export function bearerOf(authorization: string | undefined): string {
  return /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1] ?? "";
}

export function unauthorized(): Problem {
  return new Problem(401, "unauthorized", "the bearer token is missing or wrong", {
    "WWW-Authenticate": "Bearer",
  });
}
