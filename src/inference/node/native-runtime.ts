import { createRequire } from "node:module";
import { InferenceError } from "../errors.ts";

const VERSION = "1.30.0";

/**
 * Whether onnxruntime-node is installed. It is an optional peer dependency: it holds 290 MB, the libraries of five
 * platforms, and its install script downloads CUDA from NuGet, which an install must not depend on.
 */
export function isNativeRuntimeInstalled(): boolean {
  try {
    createRequire(import.meta.url).resolve("onnxruntime-node");
    return true;
  } catch {
    return false;
  }
}

/** How to install it. */
export const INSTALL_NATIVE_RUNTIME = `ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@${VERSION} (cuda12 instead of skip for CUDA)`;

/** Why the model runs in WebAssembly. */
export const NATIVE_RUNTIME_MISSING = `onnxruntime-node is not installed, so the model runs in WebAssembly, which is slower; to install it: ${INSTALL_NATIVE_RUNTIME}`;

/** @throws {InferenceError} if onnxruntime-node is not installed */
export function requireNativeRuntime(): void {
  if (isNativeRuntimeInstalled()) return;
  throw new InferenceError(
    `onnxruntime-node is not installed: ${INSTALL_NATIVE_RUNTIME}, or let the model run in WebAssembly ("wasm")`,
  );
}
