import { equalInConstantTime } from "./constant-time.ts";
import { HttpError } from "./http-error.ts";

/** Shorter tokens could be guessed. */
export const MIN_TOKEN_LENGTH = 16;

/** Checks the token of a request. @throws {HttpError} 401 */
export async function requireBearer(authorization: string | undefined, token: string): Promise<void> {
  if (!(await equalInConstantTime(parseBearer(authorization), token))) throw unauthorized();
}

/** The token in an `Authorization` header; "" where there is none. */
export function parseBearer(authorization: string | undefined): string {
  return /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1] ?? "";
}

export function unauthorized(): HttpError {
  return new HttpError(401, "unauthorized", "the bearer token is missing or wrong", {
    "WWW-Authenticate": "Bearer",
  });
}
