import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { WorkerName } from "./worker-config.ts";

/** Secrets of each Worker; requests fail without those that are not optional. */
export const SECRETS: Record<WorkerName, readonly { name: SecretName; optional: boolean }[]> = {
  jobs: [
    { name: "TOKENS", optional: false },
    { name: "WEBHOOKS", optional: true },
    { name: "SOURCE_KEYS", optional: true },
    { name: "CALLBACK_SECRET", optional: true },
    { name: "SCANS_S3_KEYS", optional: true },
  ],
  segment: [
    { name: "TOKEN", optional: false },
    { name: "SOURCE_KEYS", optional: true },
  ],
  probe: [{ name: "TOKEN", optional: false }],
};

const NAMES = ["TOKENS", "WEBHOOKS", "SOURCE_KEYS", "CALLBACK_SECRET", "SCANS_S3_KEYS", "TOKEN"] as const;
export type SecretName = (typeof NAMES)[number];
export type Secrets = Partial<Record<SecretName, string>>;

/** Not TILEWRIGHT_TOKEN, which is the token that the upload command sends. */
const ENVIRONMENT_PREFIX = "TILEWRIGHT_SECRET_";

/** Reads values from files of a directory, named like the secrets, otherwise from the environment. */
export async function readSecrets(
  directory: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Secrets> {
  const secrets: Secrets = {};
  for (const name of NAMES) {
    const value = (await readIfThere(join(directory, name))) ?? environment[ENVIRONMENT_PREFIX + name];
    // wrangler trims the end, too.
    if (value !== undefined && value.trim() !== "") secrets[name] = value.trim();
  }
  return secrets;
}

/** Generates values for missing secrets that need no external value. */
export function newSecrets(present: Secrets): Secrets {
  const tokens = [
    { name: "admin", token: newToken(), scopes: ["admin"] },
    { name: "uploader", token: newToken(), scopes: ["submit", "read"] },
  ];
  const made: Secrets = {
    TOKENS: JSON.stringify(tokens, null, 2),
    CALLBACK_SECRET: newToken(),
    TOKEN: newToken(),
  };
  return Object.fromEntries(
    Object.entries(made).filter(([name]) => present[name as SecretName] === undefined),
  );
}

/** Writes secrets to files that only their owner can read. @returns paths of the files @throws {Error} where a file exists */
export async function writeSecrets(directory: string, secrets: Secrets): Promise<string[]> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const paths: string[] = [];
  for (const [name, value] of Object.entries(secrets)) {
    const path = join(directory, name);
    await writeFile(path, `${value}\n`, { flag: "wx", mode: 0o600 });
    paths.push(path);
  }
  return paths;
}

/** 256 random bits, in characters that headers can hold. */
function newToken(): string {
  return randomBytes(32).toString("base64url");
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Error(`${path} cannot be read`, { cause: error });
  }
}
