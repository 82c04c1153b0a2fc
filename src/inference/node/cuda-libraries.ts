import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** Directory of onnxruntime-node. */
function ownRuntime(): string {
  return dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
}

/**
 * Finds out why onnxruntime cannot load its CUDA provider. onnxruntime writes the reason to its log only, so a missing
 * library is found by loading the provider once more.
 * @returns the reason and what to do
 * @param runtime the directory of onnxruntime-node
 */
export function findMissingCudaLibraries(runtime = ownRuntime()): string {
  const provider = join(
    runtime,
    "bin/napi-v6",
    process.platform,
    process.arch,
    "libonnxruntime_providers_cuda.so",
  );
  if (!existsSync(provider)) {
    return process.platform === "linux" && process.arch === "x64"
      ? `CUDA is not in this installation of onnxruntime-node: fetch it with "ONNXRUNTIME_NODE_INSTALL=cuda12 node ${join(runtime, "script/install.js")}", or choose another provider`
      : "onnxruntime-node has CUDA on Linux on x64 only; choose another provider";
  }
  let words = "it does not load";
  try {
    process.dlopen({ exports: {} }, provider);
  } catch (error) {
    words = (error as Error).message;
  }
  const [, library, version] = /(lib\w+\.so(?:\.(\d+))?): cannot open shared object file/.exec(words) ?? [];
  if (library?.startsWith("libcuda.")) {
    return `CUDA finds no NVIDIA driver (${library}): install it, in a container give it the GPU (docker run --gpus all), or choose another provider`;
  }
  if (library) {
    // The number of the others is their own.
    const cuda = /^lib(cublas|cublasLt|cudart)\./.test(library) ? `CUDA ${version}` : "CUDA";
    return `CUDA lacks ${library}: install ${cuda}'s libraries and cuDNN 9, or name their directory in LD_LIBRARY_PATH, or choose another provider`;
  }
  return `onnxruntime's CUDA provider does not load (${words}); choose another provider`;
}
