import ipaddr from "ipaddr.js";

/**
 * Whether a host is this machine: `localhost`, a name below it (RFC 6761), or a loopback address. Brackets around an IPv6
 * address, as in `URL.hostname`, are accepted. IPv4 addresses must have four decimal parts.
 */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, "$1");
  if (/^(?:.+\.)?localhost$/i.test(name)) return true;
  const isAddress = ipaddr.IPv4.isValidFourPartDecimal(name) || ipaddr.IPv6.isValid(name);
  return isAddress && ipaddr.parse(name).range() === "loopback";
}
