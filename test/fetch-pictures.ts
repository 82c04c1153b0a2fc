import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import pLimit from "p-limit";

/**
 * Downloads the real pictures that some tests use, from their public homes, and checks each against its hash. Without them
 * those tests are skipped. Files that are there already are not downloaded again.
 *
 *   npm run fetch:pictures -- [--out ../shared/data] [--from <mirror>] [--only slides/]
 */
const LIST = new URL("pictures.txt", import.meta.url);
const HOME = "https://raw.githubusercontent.com/";
const AT_A_TIME = 8;
const TIMEOUT_MS = 120_000;

interface Picture {
  sha256: string;
  byteLength: number;
  /** Place in the directory. */
  place: string;
  /** Path at its home. */
  path: string;
}

const { values } = parseArgs({
  options: {
    out: { type: "string", default: resolve(import.meta.dirname, "../../shared/data") },
    from: { type: "string", default: HOME },
    only: { type: "string", default: "" },
  },
});
const pictures = readFileSync(LIST, "utf8").split("\n").flatMap(parseLine);
const wanted = pictures.filter(({ place }) => place.startsWith(values.only));
const missing = wanted.filter((picture) => !isThere(picture));
const limit = pLimit(AT_A_TIME);
const results = await Promise.allSettled(missing.map((picture) => limit(() => download(picture))));
const failed = results.flatMap((result) => (result.status === "rejected" ? [result.reason.message] : []));
console.log(
  `${wanted.length} pictures, ${wanted.length - missing.length} were there, ${missing.length - failed.length} downloaded to ${values.out}`,
);
if (failed.length > 0) {
  console.error(failed.join("\n"));
  process.exitCode = 1;
}

function parseLine(line: string): Picture[] {
  const [, sha256, bytes, place, path] = /^([\da-f]{64}) (\d+)\t([^\t]+)\t([^\t]+)$/.exec(line) ?? [];
  return sha256 ? [{ sha256, byteLength: Number(bytes), place: place!, path: path! }] : [];
}

function isThere({ place, sha256 }: Picture): boolean {
  const file = join(values.out, place);
  return existsSync(file) && hash(readFileSync(file)) === sha256;
}

async function download({ sha256, byteLength, place, path }: Picture): Promise<void> {
  const url = new URL(path.split("/").map(encodeURIComponent).join("/"), values.from);
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch((cause) => {
    throw new Error(`${url} cannot be reached: ${cause.cause?.code ?? cause.message}`, { cause });
  });
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes.length !== byteLength || hash(bytes) !== sha256)
    throw new Error(`${url} has ${bytes.length} bytes with another hash than ${sha256}: it was not kept`);
  const file = join(values.out, place);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.partial`, bytes);
  renameSync(`${file}.partial`, file);
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
