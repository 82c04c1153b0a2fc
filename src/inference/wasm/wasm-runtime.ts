import * as ort from "onnxruntime-web/wasm";
import { InferenceError } from "../errors.ts";
import { capWasmMemory, type WasmHeap } from "./wasm-memory.ts";

export interface WasmRuntimeOptions {
  /** onnxruntime-web's module, compiled, where nothing may be compiled at run time (Workers). Default: its own file. */
  wasmModule?: WebAssembly.Module;
  /** Bytes beyond which the runtime's heap does not grow. */
  maxHeapBytes?: number;
}

/** Stands in for the bytes of the runtime, which nobody needs when its compiled module is at hand. */
const PLACEHOLDER = new ArrayBuffer(8);

let prepared: { options: WasmRuntimeOptions; heap: WasmHeap | undefined } | undefined;

/**
 * Readies the one WebAssembly runtime that a process or isolate has; once, before its first session.
 * @returns its heap where it has a cap
 * @throws {InferenceError} when it was readied before with other options: neither can be changed any more
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
    instantiateInstead(wasmModule);
  }
  prepared = { options, heap };
  return heap;
}

/**
 * The runtime hands its bytes to `WebAssembly.instantiate` and has no option for a compiled module. Its placeholder, and
 * nothing else, is answered with the module.
 */
function instantiateInstead(wasmModule: WebAssembly.Module): void {
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
