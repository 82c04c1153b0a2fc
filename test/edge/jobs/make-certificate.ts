import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";

/** A key and a self-signed certificate in PEM. */
export interface MadeCertificate {
  pem: string;
  privateKey: KeyObject;
}

export interface CertificateOptions {
  bits?: number;
  notBefore?: Date;
  notAfter?: Date;
  /** 1 has no version field. */
  version?: 1 | 3;
  kind?: "rsa" | "ec";
}

export function makeCertificate(options: CertificateOptions = {}): MadeCertificate {
  const { bits = 2048, version = 3, kind = "rsa" } = options;
  const { notBefore = new Date(Date.now() - 86_400_000), notAfter = new Date(Date.now() + 86_400_000) } =
    options;
  const { privateKey, publicKey } =
    kind === "rsa"
      ? generateKeyPairSync("rsa", { modulusLength: bits })
      : generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm =
    kind === "rsa" ? sequence(oid("2a864886f70d01010b"), element(0x05)) : sequence(oid("2a8648ce3d040302"));
  const name = sequence(
    element(0x31, sequence(oid("550403"), element(0x0c, Buffer.from("sns.amazonaws.com")))),
  );
  const fields = sequence(
    ...(version === 3 ? [element(0xa0, element(0x02, Buffer.from([2])))] : []),
    element(0x02, Buffer.from([1])),
    algorithm,
    name,
    sequence(time(notBefore), time(notAfter)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
  );
  const signature = sign("sha256", fields, privateKey);
  const der = sequence(fields, algorithm, element(0x03, Buffer.from([0]), signature));
  const lines = der.toString("base64").match(/.{1,64}/g)!;
  return {
    pem: ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n"),
    privateKey,
  };
}

function element(tag: number, ...contents: Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const size = content.length;
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

function sequence(...contents: Buffer[]): Buffer {
  return element(0x30, ...contents);
}

function oid(hex: string): Buffer {
  return element(0x06, Buffer.from(hex, "hex"));
}

function time(date: Date): Buffer {
  const digits = date
    .toISOString()
    .replace(/\.\d+Z$/, "Z")
    .replace(/[-:T]/g, "");
  const isUtc = date.getUTCFullYear() < 2050;
  return element(isUtc ? 0x17 : 0x18, Buffer.from(isUtc ? digits.slice(2) : digits));
}
