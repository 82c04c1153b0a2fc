import { readFile } from "node:fs/promises";
import type { Kernels } from "../engine/engine.ts";

/** The builds of the engine's kernels that this machine can run, the fastest first. */
export async function loadKernels(): Promise<Kernels[]> {
  const builds: Kernels[] = [];
  for (const [file, relaxed] of [
    ["kernels-relaxed.wasm", true],
    ["kernels.wasm", false],
  ] as const) {
    const bytes = await readFile(new URL(`../engine/${file}`, import.meta.url));
    if (WebAssembly.validate(bytes)) builds.push({ module: await WebAssembly.compile(bytes), relaxed });
  }
  return builds;
}
