import type { Kernels } from "./engine.ts";

/**
 * The builds of the kernels that this browser can run, the fastest first. The addresses are written so that bundlers copy the
 * files.
 * @throws {Error} if the files cannot be fetched
 */
export async function fetchKernels(): Promise<Kernels[]> {
  const builds: Kernels[] = [];
  for (const [url, relaxed] of [
    [new URL("./kernels-relaxed.wasm", import.meta.url), true],
    [new URL("./kernels.wasm", import.meta.url), false],
  ] as const) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url} gives ${response.status}`);
    const bytes = await response.arrayBuffer();
    if (WebAssembly.validate(bytes)) builds.push({ module: await WebAssembly.compile(bytes), relaxed });
  }
  return builds;
}
