import * as ort from "onnxruntime-web/wasm";
import { InferenceError } from "../errors.ts";
import { capWasmMemory, type WasmHeap } from "./wasm-memory.ts";

export interface WasmRuntimeOptions {
  /** Compiled module of onnxruntime-web, for Workers, which cannot compile at run time. Default: its own file. */
  wasmModule?: WebAssembly.Module;
  /** Maximum size of the runtime's heap in bytes. */
  maxHeapBytes?: number;
}

/** Placeholder for the bytes of the runtime, which are not needed with a compiled module. */
const PLACEHOLDER = new ArrayBuffer(8);

let prepared: { options: WasmRuntimeOptions; heap: WasmHeap | undefined } | undefined;

/**
 * Prepares the WebAssembly runtime of a process or isolate, before its first session.
 * @returns its heap, if it has a limit
 * @throws {InferenceError} if it was prepared with other options before, which cannot be changed
 */
export function prepareWasmRuntime(options: WasmRuntimeOptions): WasmHeap | undefined {
  const { wasmModule, maxHeapBytes } = options;
  if (prepared) {
    if (prepared.options.wasmModule !== wasmModule || prepared.options.maxHeapBytes !== maxHeapBytes) {
      throw new InferenceError(
        `the WebAssembly runtime was made with a heap of at most ${prepared.options.maxHeapBytes ?? "any number of"} bytes; another process is needed for ${maxHeapBytes ?? "any number"}`,
      );
    }
    return prepared.heap;
  }
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  const heap = maxHeapBytes === undefined ? undefined : capWasmMemory(maxHeapBytes);
  if (wasmModule) {
    ort.env.wasm.wasmBinary = PLACEHOLDER;
    interceptInstantiate(wasmModule);
  }
  prepared = { options, heap };
  return heap;
}

/**
 * The runtime passes its bytes to `WebAssembly.instantiate` and has no option for a compiled module. This wrapper returns
 * the module for the placeholder, and for nothing else.
 */
function interceptInstantiate(wasmModule: WebAssembly.Module): void {
  const instantiate = WebAssembly.instantiate as (
    source: unknown,
    imports?: WebAssembly.Imports,
  ) => Promise<unknown>;
  const replaced = async (source: unknown, imports?: WebAssembly.Imports): Promise<unknown> => {
    const bytes = ArrayBuffer.isView(source) ? source.buffer : source;
    if (bytes !== PLACEHOLDER) return instantiate(source, imports);
    return { module: wasmModule, instance: await instantiate(wasmModule, imports) };
  };
  WebAssembly.instantiate = replaced as typeof WebAssembly.instantiate;
}
