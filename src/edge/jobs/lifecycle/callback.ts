import { isLoopback } from "../../../service/loopback.ts";
import { hmacSha256Hex } from "../../../storage/digest.ts";
import { getLedger } from "../../shared/ledger-port.ts";
import type { Bindings } from "../context/bindings.ts";

const TIMEOUT_MS = 10_000;

/**
 * Whether the service may call this address: its host must be in CALLBACK_HOSTS, and CALLBACK_SECRET must be set. http is
 * for loopback hosts only, because the body names slides.
 */
export function callbackAllowed(env: Bindings, address: string): boolean {
  const hosts = (env.CALLBACK_HOSTS ?? "").split(",").map((host) => host.trim());
  const { protocol, host, hostname, username, password } = new URL(address);
  const isSafe = protocol === "https:" || (protocol === "http:" && isLoopback(hostname));
  return !!env.CALLBACK_SECRET && isSafe && username === "" && password === "" && hosts.includes(host);
}

/**
 * Sends the final status of a job as JSON to the callback of its request, with `X-Tilewright-Signature:
 * t=<seconds>,v1=<hex>`, the HMAC-SHA256 of `<seconds>.<body>`. Follows no redirects.
 * @throws {Error} for other responses than 2xx; the caller retries
 */
export async function sendCallback(env: Bindings, job: string): Promise<boolean> {
  const ledger = getLedger(env.LEDGERS!, job);
  const address = (await ledger.document())?.request.callback;
  if (address === undefined || !callbackAllowed(env, address)) return false;
  const body = JSON.stringify(await ledger.status());
  const seconds = Math.floor(Date.now() / 1000);
  const response = await fetch(address, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "X-Tilewright-Signature": `t=${seconds},v1=${await hmacSha256Hex(env.CALLBACK_SECRET!, `${seconds}.${body}`)}`,
    },
    body,
    redirect: "manual",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`the callback responded ${response.status}`);
  return true;
}
