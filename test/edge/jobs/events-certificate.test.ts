import { execFileSync } from "node:child_process";
import { createPublicKey, X509Certificate } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readCertificate } from "../../../src/edge/jobs/events/certificate.ts";
import { type CertificateOptions, makeCertificate } from "./make-certificate.ts";

/** The result of Node's own reader. */
function referee(pem: string) {
  const certificate = new X509Certificate(pem);
  return {
    spki: new Uint8Array(certificate.publicKey.export({ type: "spki", format: "der" })),
    notBeforeMs: Date.parse(certificate.validFrom),
    notAfterMs: Date.parse(certificate.validTo),
  };
}

test.each([
  {},
  { version: 1 },
  { bits: 4096 },
  { kind: "ec" },
  { notBefore: new Date("1999-12-31T23:59:59Z"), notAfter: new Date("2049-12-31T23:59:59Z") },
  { notBefore: new Date("1950-01-01T00:00:00Z"), notAfter: new Date("2050-01-01T00:00:00Z") },
] as CertificateOptions[])("a certificate of %j is read as Node reads it", (options) => {
  const { pem } = makeCertificate(options);
  expect(readCertificate(pem)).toEqual(referee(pem));
  expect(readCertificate(`Bag Attributes\r\n${pem.replaceAll("\n", "\r\n")}`)).toEqual(referee(pem));
});

const openssl = (...args: string[]) => execFileSync("openssl", args, { encoding: "utf8", stdio: "pipe" });
function hasOpenssl(): boolean {
  try {
    return openssl("version") !== "";
  } catch {
    return false;
  }
}

test.skipIf(!hasOpenssl())("a certificate of OpenSSL, with extensions, too", () => {
  const text = openssl(
    "req",
    "-x509",
    "-newkey",
    "rsa:2048",
    "-noenc",
    "-keyout",
    "-",
    "-days",
    "30",
    "-subj",
    "/CN=a",
  );
  const pem = text.slice(text.indexOf("-----BEGIN CERTIFICATE"));
  expect(readCertificate(pem)).toEqual(referee(pem));
});

test("damaged bytes give a TypeError or a certificate, and no other error", () => {
  const { pem } = makeCertificate();
  const der = Buffer.from(pem.replace(/-----.*-----/g, ""), "base64");
  const wrap = (bytes: Uint8Array) =>
    `-----BEGIN CERTIFICATE-----\n${Buffer.from(bytes).toString("base64")}\n-----END CERTIFICATE-----`;
  const read = (text: string) => {
    try {
      const { spki } = readCertificate(text);
      expect(spki.length).toBeLessThanOrEqual(der.length);
    } catch (error) {
      expect(error).toBeInstanceOf(TypeError);
    }
  };
  const changes = fc.array(fc.tuple(fc.nat(der.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(changes, fc.nat(der.length), (edits, cut) => {
      const bytes = Uint8Array.from(der);
      for (const [at, value] of edits) bytes[at] = value;
      read(wrap(bytes));
      read(wrap(bytes.subarray(0, cut)));
    }),
    { numRuns: 2000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => read(wrap(bytes))));
  fc.assert(fc.property(fc.string(), read));
});

test("reads a key that WebCrypto imports", () => {
  const { pem, privateKey } = makeCertificate();
  const key = createPublicKey({ key: Buffer.from(readCertificate(pem).spki), type: "spki", format: "der" });
  expect(key.equals(createPublicKey(privateKey))).toBe(true);
});
