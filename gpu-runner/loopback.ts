import { HttpError } from "../src/service/http-error.ts";
import { isLoopback } from "../src/service/loopback.ts";

/**
 * Accepts only requests addressed to this machine. Otherwise a web page whose host name resolves to this machine (DNS
 * rebinding) could use a runner without token from a local browser.
 * @param host the header `Host`
 * @throws {HttpError} 403
 */
export function requireLoopbackHost(host: string | undefined): void {
  const parts = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host ?? "");
  const name = (parts?.[1] ?? parts?.[2] ?? "").toLowerCase();
  // Some resolvers ask other machines for names below localhost.
  if (isLoopback(name) && !name.endsWith(".localhost")) return;
  throw new HttpError(
    403,
    "wrong_host",
    "a runner without a token is for this machine only: call it at localhost or 127.0.0.1, or start it with a token",
  );
}
