import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * The Zstandard decoder as a file. The package zstddec holds it as text, and Workers run only code that is compiled from a file.
 *   node infra/codecs/take-zstd.ts           writes src/codecs/zstd.wasm and its licence, which are committed
 *   node infra/codecs/take-zstd.ts <folder>  copies them to where the compiled program looks for them
 */
const CODECS = join(import.meta.dirname, "../../src/codecs");
export const FILES = ["zstd.wasm", "zstd.wasm.LICENSE.txt"].map((name) => join(CODECS, name));

/** The decoder and its licence, as zstddec ships them. */
export async function takeZstd(): Promise<[wasm: Buffer, licence: Buffer]> {
  const text = await readFile(fileURLToPath(import.meta.resolve("zstddec")), "utf8");
  const [, base64] = /const wasm = '([\w+/=]+)'/.exec(text) ?? [];
  const [licence] = /BSD License[\s\S]*?DAMAGE\./.exec(text) ?? [];
  if (!base64 || !licence) throw new Error("zstddec no longer holds its decoder and licence as before");
  return [Buffer.from(base64, "base64"), Buffer.from(`${licence.replace(/^ \* ?/gm, "")}\n`)];
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) {
  const to = process.argv[2];
  const contents = to ? await Promise.all(FILES.map((file) => readFile(file))) : await takeZstd();
  if (to) await mkdir(to, { recursive: true });
  for (const [i, file] of FILES.entries())
    await writeFile(to ? join(to, basename(file)) : file, contents[i]!);
}
