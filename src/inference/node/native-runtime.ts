import { createRequire } from "node:module";
import { InferenceError } from "../errors.ts";

const VERSION = "1.30.0";

/** In Deno a worker thread with native code never ends, so closing a session would wait for ever. */
const IS_DENO = "Deno" in globalThis;

/**
 * Whether onnxruntime-node is installed and runs here. It is an optional peer dependency: it holds 290 MB, the libraries of
 * five platforms, and its install script downloads CUDA from NuGet, which an install must not depend on.
 */
export function isNativeRuntimeInstalled(): boolean {
  if (IS_DENO) return false;
  try {
    createRequire(import.meta.url).resolve("onnxruntime-node");
    return true;
  } catch {
    return false;
  }
}

/** How to install it. */
const INSTALL = `ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@${VERSION} (cuda12 instead of skip for CUDA)`;

/** Why the model runs in WebAssembly. */
export const NATIVE_RUNTIME_MISSING = IS_DENO
  ? "onnxruntime-node does not run in Deno, so the model runs in WebAssembly"
  : `onnxruntime-node is not installed, so the model runs in WebAssembly; to install it: ${INSTALL}`;

/** @throws {InferenceError} if onnxruntime-node is not installed, or does not run here */
export function requireNativeRuntime(): void {
  if (isNativeRuntimeInstalled()) return;
  throw new InferenceError(
    IS_DENO
      ? "onnxruntime-node does not run in Deno: let the model run in WebAssembly (wasm), or use Node"
      : `onnxruntime-node is not installed: ${INSTALL}, or let the model run in WebAssembly (wasm)`,
  );
}
