import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isInternal } from "../../../src/edge/sources/internal-host.ts";
import { isLoopback } from "../../../src/service/loopback.ts";

const parseHostname = (text: string) => new URL(`https://${text}/`).hostname;

describe("recognizes internal addresses in every notation", () => {
  // Without URL, which writes four decimals.
  test.each([
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "2130706433",
    "0xa9fea9fe",
    "::1",
    "::ffff:10.0.0.1",
    "fe80::1%eth0",
  ])("%s as written", (text) => {
    expect(isInternal(text)).toBe(true);
  });

  test.each([
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "0xa.1",
    "012.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "017700000001",
    "2130706433",
    "127.255.255.254",
    "169.254.169.254",
    "0xA9FEA9FE",
    "2852039166",
    "169.254.43518",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "１２７.０.０.１",
    "127。0。0。1",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:8.8.8.8]",
    "[::127.0.0.1]",
    // NAT64 (RFC 6052, RFC 8215), IPv4-translated (RFC 6145), 6to4 (RFC 3056), Teredo, also with global addresses inside.
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::8.8.8.8]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[::ffff:0:169.254.169.254]",
    "[::ffff:10.0.0.1]",
    "[::ffff:c0a8:101]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[2002:7f00:1::]",
    "[2002:808:808::1]",
    "[2001:0:4136:e378::1]",
    // Unique local, link-local, site-local, discard, segment routing.
    "[fc00::]",
    "[fdff:ffff:ffff::1]",
    "[fe80::a9fe:a9fe]",
    "[febf::1]",
    "[100::1]",
    "[5f00::1]",
    "[4000::1]",
    "[2001:20::1]",
    "0251.0376.0251.0376",
    "0xa9.0xfe.0xa9.0xfe",
    "0xac100001",
    "030052000001",
    "3232235777",
    "192.168.257",
    "100.127.255.255",
    "localhost.",
    "127.0.0.1.",
    "metadata.google.internal.",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001::1]",
    "[2001:db8::1]",
    "[2002:a9fe:a9fe::1]",
    "[3fff::1]",
    "localhost",
    "LOCALHOST",
    "a.localhost",
    "metadata.google.internal",
    "printer.local",
    "router",
  ])("%s", (text) => {
    expect(isInternal(parseHostname(text))).toBe(true);
  });
});

test.each([
  "1.1.1.1",
  "8.8.8.8",
  "9.255.255.255",
  "11.0.0.0",
  "100.63.255.255",
  "100.128.0.0",
  "126.255.255.255",
  "128.0.0.1",
  "169.253.255.255",
  "172.15.255.255",
  "172.32.0.0",
  "192.167.255.255",
  "198.17.255.255",
  "198.20.0.0",
  "223.255.255.255",
  "169.255.0.0",
  "192.0.1.1",
  "slides.example.org.",
  "[2606:4700::1111]",
  "[2a00:1450::1]",
  "[2001:4860:4860::8888]",
  "slides.example.org",
  "10.0.0.1.example.org",
  "internal.example.org",
])("%s is not internal", (text) => {
  expect(isInternal(parseHostname(text))).toBe(false);
});

test("recognizes every address of private ranges, also mapped into IPv6", () => {
  const ranges = [
    [0x0a000000, 8],
    [0x7f000000, 8],
    [0xa9fe0000, 16],
    [0xac100000, 12],
    [0xc0a80000, 16],
  ] as const;
  fc.assert(
    fc.property(fc.constantFrom(...ranges), fc.nat(0xffffffff), (range, random) => {
      const [base, bits] = range;
      const address = base + (random % 2 ** (32 - bits));
      const hex = address.toString(16).padStart(8, "0");
      for (const text of [
        String(address),
        `0x${hex}`,
        `0${address.toString(8)}`,
        `[::ffff:${hex.slice(0, 4)}:${hex.slice(4)}]`,
      ]) {
        expect(isInternal(parseHostname(text))).toBe(true);
      }
      expect(isLoopback(parseHostname(String(address)))).toBe(base === 0x7f000000);
    }),
  );
});
