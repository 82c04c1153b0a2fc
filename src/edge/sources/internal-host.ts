import ipaddr from "ipaddr.js";
import { isLoopback } from "../../service/loopback.ts";

/**
 * Whether a host is known to some networks only: a private, link-local (where clouds keep their metadata), loopback,
 * multicast or reserved address, or a name of a local network. Names are not resolved.
 * @param hostname `URL.hostname`, which writes every notation of an IPv4 address as four decimals
 */
export function isInternal(hostname: string): boolean {
  const name = hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
  if (isLoopback(name)) return true;
  if (ipaddr.isValid(name)) return !isGlobal(ipaddr.parse(name));
  return /(^|\.)(internal|local|localdomain|home\.arpa)$/i.test(name) || !name.includes(".");
}

/**
 * IPv6 has global addresses in 2000::/3 only. Mapped IPv4 addresses, NAT64, 6to4 and Teredo are not global here, even if
 * the IPv4 address inside is: no source needs them.
 */
function isGlobal(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  if (address.range() !== "unicast") return false;
  return address.kind() === "ipv4" || (address as ipaddr.IPv6).match(GLOBAL_UNICAST);
}

const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR("2000::/3");
