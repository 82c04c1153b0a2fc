import { HttpError } from "../../service/http-error.ts";
import { isLoopback } from "../../service/loopback.ts";
import type { AllowedHost } from "./source-settings.ts";

const MAX_REDIRECTS = 3;

export function sourceRefusedError(message: string): HttpError {
  return new HttpError(422, "source_refused", message);
}

/** Whether host, port and protocol are in the allow-list and the URL has no credentials. */
export function isAllowed(url: URL, hosts: readonly AllowedHost[]): boolean {
  const { protocol, hostname } = url;
  if (protocol !== "https:" && protocol !== "http:") return false;
  if (url.username !== "" || url.password !== "") return false;
  const port = url.port || (protocol === "https:" ? "443" : "80");
  return hosts.some((h) => h.hostname === hostname && h.port === port && h.protocols.includes(protocol));
}

/**
 * A `fetch` that reads from allowed hosts only. It follows at most three redirects, checks each against the allow-list, and
 * follows none from another host to this machine.
 */
export function allowedFetch(
  hosts: readonly AllowedHost[],
  fetch: typeof globalThis.fetch,
): typeof globalThis.fetch {
  return async (input, init) => {
    let url = new URL(input instanceof Request ? input.url : input);
    const startsHere = isLoopback(url.hostname);
    for (let redirects = 0; ; redirects++) {
      if (!isAllowed(url, hosts) || (isLoopback(url.hostname) && !startsHere)) {
        throw sourceRefusedError(
          redirects === 0
            ? `host ${url.host} is not in the allow-list (SOURCES)`
            : "the source redirects to a host that is not in the allow-list (SOURCES)",
        );
      }
      const response = await fetch(url.href, { ...init, redirect: "manual" });
      const location = response.headers.get("Location");
      if (!REDIRECTS.has(response.status) || location === null) return response;
      await response.body?.cancel().catch(() => {});
      if (redirects === MAX_REDIRECTS) {
        throw sourceRefusedError(`the source redirects more than ${MAX_REDIRECTS} times`);
      }
      if (!URL.canParse(location, url))
        throw sourceRefusedError("the source redirects to an invalid address");
      url = new URL(location, url);
    }
  };
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
