import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { main } from "assemblyscript/asc";

/**
 * Compiles the kernels of the engine, with and without relaxed SIMD.
 *   npm run build:kernels          writes src/inference/engine/kernels*.wasm, which are committed
 * The compiler's output depends on its version alone; test/inference/engine/kernels.test.ts compares.
 */
const ENGINE = join(import.meta.dirname, "../../src/inference/engine");

export const BUILDS = [
  { file: "kernels-relaxed.wasm", features: ["simd", "relaxed-simd"] },
  { file: "kernels.wasm", features: ["simd"] },
] as const;

/** @throws {Error} with the compiler's messages */
export async function compileKernels(features: readonly string[]): Promise<Uint8Array> {
  let compiled: Uint8Array | undefined;
  const { error, stderr } = await main(
    [
      "assembly/index.ts",
      ...["--outFile", "kernels.wasm", "--runtime", "stub", "--noAssert", "-O3", "--converge"],
      ...["--importMemory", "--noExportMemory", "--initialMemory", "1"],
      // "Exchange of v128 values": nothing is exchanged with JavaScript.
      ...["--disableWarning", "112"],
      ...features.flatMap((feature) => ["--enable", feature]),
    ],
    {
      readFile: (name: string) => readFile(join(ENGINE, name), "utf8").catch(() => null),
      writeFile: (_: string, contents: string | Uint8Array) => {
        if (typeof contents !== "string") compiled = contents;
      },
      listFiles: () => [],
    },
  );
  if (error || !compiled)
    throw new Error(`the kernels do not compile: ${error?.message}\n${stderr.toString()}`);
  return compiled;
}

/** Copies the committed kernels to where the compiled program looks for them. */
export async function copyKernels(to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const { file } of BUILDS) await writeFile(join(to, file), await readFile(join(ENGINE, file)));
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) {
  const to = process.argv[2];
  if (to) await copyKernels(to);
  else {
    for (const { file, features } of BUILDS) {
      const bytes = await compileKernels(features);
      await writeFile(join(ENGINE, file), bytes);
      console.log(`${join(dirname(file), file)}: ${bytes.length} bytes`);
    }
  }
}
