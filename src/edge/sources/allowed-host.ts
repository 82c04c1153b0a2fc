/** Whether a host as `URL.hostname` writes it is this very machine. */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === "localhost" ||
    hostname.endsWith(".localhost") ||
    hostname === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname)
  );
}

/**
 * Whether a host as `URL.hostname` writes it is an address that only some networks know: private, link-local (where
 * clouds keep their metadata), loopback, multicast, or set aside (RFC 6890). A `URL` writes every notation of an IPv4
 * address as four decimals, so there is no other to look for. Names are not resolved.
 */
export function isInternal(hostname: string): boolean {
  if (isLoopback(hostname)) return true;
  if (hostname.startsWith("[")) return !isGlobalIpv6(hostname.slice(1, -1));
  const parts = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(hostname);
  if (!parts)
    return /(^|\.)(internal|local|localdomain|home\.arpa)\.?$/.test(hostname) || !hostname.includes(".");
  const address = parts.slice(1).reduce((sum, part) => sum * 256 + Number(part), 0);
  return INTERNAL_IPV4.some(
    ([base, bits]) => Math.floor(address / 2 ** (32 - bits)) === Math.floor(base / 2 ** (32 - bits)),
  );
}

/** Base and length of each range. */
const INTERNAL_IPV4: readonly (readonly [number, number])[] = [
  [0x00000000, 8],
  [0x0a000000, 8],
  [0x64400000, 10],
  [0x7f000000, 8],
  [0xa9fe0000, 16],
  [0xac100000, 12],
  [0xc0000000, 24],
  [0xc0000200, 24],
  [0xc0586300, 24],
  [0xc0a80000, 16],
  [0xc6120000, 15],
  [0xc6336400, 24],
  [0xcb007100, 24],
  // Multicast and what is reserved up to the broadcast address.
  [0xe0000000, 3],
];

/**
 * Global unicast is 2000::/3 alone. Of it, addresses that carry an IPv4 address (6to4, Teredo) and those of documents
 * are left out; mapped ones (::ffff:a.b.c.d) and NAT64 lie outside anyway.
 */
function isGlobalIpv6(address: string): boolean {
  const [first = "", second = ""] = address.split(":");
  const high = Number.parseInt(first || "0", 16);
  const low = Number.parseInt(second || "0", 16);
  if (high < 0x2000 || high > 0x3ffe) return false;
  if (high === 0x2002) return false;
  return !(high === 0x2001 && (low < 0x200 || low === 0xdb8));
}
