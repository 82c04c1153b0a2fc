import { type DerElement, readDer, readSequence } from "./der.ts";

/**
 * The fields of an X.509 certificate that verifying a signature needs.
 *
 * Written by hand: jose gives no validity dates and verifies no RSA-SHA1, which SNS signature version 1 uses;
 * @peculiar/x509 has eleven dependencies.
 */
export interface Certificate {
  /** SubjectPublicKeyInfo, as `crypto.subtle.importKey("spki", …)` takes it. */
  spki: Uint8Array<ArrayBuffer>;
  notBeforeMs: number;
  notAfterMs: number;
}

const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const EXPLICIT_VERSION = 0xa0;

/**
 * The first certificate of a PEM file (RFC 5280, 4.1). Its own signature is not verified, so its origin must be trusted.
 * @throws {TypeError} where there is none, or it cannot be read
 */
export function readCertificate(pem: string): Certificate {
  const base64 = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(pem)?.[1];
  if (base64 === undefined) throw new TypeError("there is no certificate in the file");
  const certificate = readSequence(readDer(decodeBase64(base64)));
  const fields = readSequence(required(certificate[0]));
  // version (optional), serial number, signature algorithm, issuer, validity, subject, public key
  const [, , , validity, , publicKey] = fields[0]?.tag === EXPLICIT_VERSION ? fields.slice(1) : fields;
  const [notBefore, notAfter] = readSequence(required(validity));
  readSequence(required(publicKey));
  return {
    spki: required(publicKey).whole.slice(),
    notBeforeMs: readTime(required(notBefore)),
    notAfterMs: readTime(required(notAfter)),
  };
}

function required(element: DerElement | undefined): DerElement {
  if (element === undefined) throw new TypeError("the certificate lacks a field");
  return element;
}

/** YYMMDDhhmmssZ or YYYYMMDDhhmmssZ: no other form is allowed in certificates (RFC 5280, 4.1.2.5). */
function readTime({ tag, content }: DerElement): number {
  const text = String.fromCharCode(...content.subarray(0, 16));
  const yearDigits = tag === UTC_TIME ? 2 : 4;
  const isTime = tag === UTC_TIME || tag === GENERALIZED_TIME;
  if (!isTime || text.length !== yearDigits + 11 || !/^\d+Z$/.test(text)) {
    throw new TypeError("the certificate has an invalid date");
  }
  const part = (n: number) => Number(text.slice(yearDigits + 2 * n, yearDigits + 2 * n + 2));
  const year = Number(text.slice(0, yearDigits));
  // Two digits mean 1950 to 2049.
  const fullYear = yearDigits === 4 ? year : year < 50 ? 2000 + year : 1900 + year;
  return Date.UTC(fullYear, part(0) - 1, part(1), part(2), part(3), part(4));
}

function decodeBase64(base64: string): Uint8Array {
  let binary: string;
  try {
    binary = atob(base64.replace(/\s+/g, ""));
  } catch (cause) {
    throw new TypeError("the certificate is not base64", { cause });
  }
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}
