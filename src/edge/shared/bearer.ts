import { Problem } from "./problem.ts";

/** Shorter ones could be guessed. */
const MIN_TOKEN_LENGTH = 16;

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
  const given = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1] ?? "";
  if (!(await equalInConstantTime(given, token))) {
    throw new Problem(401, "unauthorized", "the bearer token is missing or wrong", {
      "WWW-Authenticate": "Bearer",
    });
  }
}

/** Digests are compared, so that neither the place of a difference nor the length can be timed. */
async function equalInConstantTime(a: string, b: string): Promise<boolean> {
  const [x, y] = await Promise.all([digest(a), digest(b)]);
  let difference = 0;
  for (let i = 0; i < x.length; i++) difference |= x[i]! ^ y[i]!;
  return difference === 0;
}

async function digest(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}
