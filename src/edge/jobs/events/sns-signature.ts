import { LRUCache } from "lru-cache";
import { HttpError } from "../../../service/http-error.ts";
import { type Certificate, readCertificate } from "./certificate.ts";
import { fetchTextBounded } from "./fetch-text-bounded.ts";
import { certificateUrl, type SnsMessage, signedText } from "./sns-message.ts";

const MAX_CERTIFICATE_BYTES = 64 * 1024;
/** Amazon has one certificate at a time per region. */
const MAX_CERTIFICATES = 16;
const MIN_MODULUS_BITS = 2048;

/**
 * Verifies signatures of SNS. Caches certificates by address for the lifetime of the isolate; it caches values, because a
 * promise belongs to the request that created it.
 */
export class SnsVerifier {
  readonly #certificates = new LRUCache<string, Certificate>({ max: MAX_CERTIFICATES });

  /** @throws {HttpError} 403 for a message that SNS did not sign, 503 where the certificate cannot be fetched */
  async verify(message: SnsMessage, nowMs: number, fetch: typeof globalThis.fetch): Promise<void> {
    const url = certificateUrl(message.SigningCertURL);
    if (!url) throw invalidSignatureError("the certificate is not from a host of SNS");
    const certificate = await this.#certificate(url.href, fetch);
    if (nowMs < certificate.notBeforeMs || nowMs > certificate.notAfterMs) {
      this.#certificates.delete(url.href);
      throw invalidSignatureError("the certificate has expired or is not valid yet");
    }
    if (!(await isSigned(message, certificate.spki)))
      throw invalidSignatureError("the signature does not match the message");
  }

  async #certificate(href: string, fetch: typeof globalThis.fetch): Promise<Certificate> {
    const known = this.#certificates.get(href);
    if (known) return known;
    const pem = await fetchTextBounded(href, MAX_CERTIFICATE_BYTES, fetch);
    if (pem === undefined) {
      throw new HttpError(503, "unavailable", "the certificate of SNS cannot be fetched; send again later", {
        "Retry-After": "20",
      });
    }
    let certificate: Certificate;
    try {
      certificate = readCertificate(pem);
    } catch {
      throw invalidSignatureError("the certificate is invalid");
    }
    this.#certificates.set(href, certificate);
    return certificate;
  }
}

async function isSigned(message: SnsMessage, spki: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const hash = message.SignatureVersion === "1" ? "SHA-1" : "SHA-256";
  try {
    const key = await crypto.subtle.importKey("spki", spki, { name: "RSASSA-PKCS1-v1_5", hash }, false, [
      "verify",
    ]);
    if (((key.algorithm as { modulusLength?: number }).modulusLength ?? 0) < MIN_MODULUS_BITS) return false;
    const signature = Uint8Array.from(atob(message.Signature), (char) => char.charCodeAt(0));
    const text = new TextEncoder().encode(signedText(message));
    return await crypto.subtle.verify("RSASSA-PKCS1-v1_5", key, signature, text);
  } catch {
    // Not an RSA key.
    return false;
  }
}

function invalidSignatureError(reason: string): HttpError {
  return new HttpError(403, "bad_signature", `the message is not from SNS: ${reason}`);
}
