import { isIP } from "node:net";
import { Problem } from "../src/service/problem.ts";

/** Whether a name or address is this machine's own, and no other's in any network. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/**
 * Lets a request pass that was sent to this machine by a name of its own. A page from elsewhere whose name is made to
 * resolve to this machine (DNS rebinding) could else use, from a browser here, a runner that asks for no token.
 * @param host the header `Host`
 * @throws {Problem} 403
 */
export function requireLoopbackHost(host: string | undefined): void {
  const name = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host ?? "");
  if (isLoopback((name?.[1] ?? name?.[2] ?? "").toLowerCase())) return;
  throw new Problem(
    403,
    "wrong_host",
    "a runner without a token is for this machine only: call it at localhost or 127.0.0.1, or start it with a token",
  );
}
