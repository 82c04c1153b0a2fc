import type { Kernels } from "./engine.ts";

/**
 * The builds of the kernels that run here, the fastest first. The addresses are written so that bundlers copy the files.
 * @throws {Error} if the files cannot be read
 */
export async function fetchKernels(): Promise<Kernels[]> {
  const builds: Kernels[] = [];
  for (const [url, relaxed] of [
    [new URL("./kernels-relaxed.wasm", import.meta.url), true],
    [new URL("./kernels.wasm", import.meta.url), false],
  ] as const) {
    const bytes = await read(url);
    if (WebAssembly.validate(bytes)) builds.push({ module: await WebAssembly.compile(bytes), relaxed });
  }
  return builds;
}

async function read(url: URL): Promise<Uint8Array<ArrayBuffer>> {
  if (url.protocol === "file:") {
    // Not imported, because browsers and Workers load this module too.
    return new Uint8Array(await process.getBuiltinModule("node:fs/promises").readFile(url));
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} gives ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
