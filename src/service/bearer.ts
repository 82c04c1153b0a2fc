import { equalInConstantTime } from "./constant-time.ts";
import { Problem } from "./problem.ts";

/** Shorter ones could be guessed. */
export const MIN_TOKEN_LENGTH = 16;

/** Lets a request pass that carries the token. @throws {Problem} 401 */
export async function requireBearer(authorization: string | undefined, token: string): Promise<void> {
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
