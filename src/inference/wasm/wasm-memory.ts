const PAGE = 65536;

export interface WasmHeap {
  /** Size of the largest heap since the limit was set, in bytes; it never shrinks. */
  readonly byteLength: number;
  /** The limit. */
  readonly maxBytes: number;
}

/**
 * Limits every WebAssembly heap created from now on to `maxBytes`: a model that needs more fails with an error instead of
 * crashing its host. There is no other limit: onnxruntime-web asks for 4 GB of address space and ignores its page
 * flag. Call it before the first session.
 */
export function capWasmMemory(maxBytes: number): WasmHeap {
  const Memory = WebAssembly.Memory;
  const pages = Math.floor(maxBytes / PAGE);
  const made: WebAssembly.Memory[] = [];
  class CappedMemory extends Memory {
    constructor(descriptor: WebAssembly.MemoryDescriptor) {
      super({
        ...descriptor,
        initial: Math.min(descriptor.initial, pages),
        maximum: Math.min(descriptor.maximum ?? pages, pages),
      });
      made.push(this);
    }
  }
  WebAssembly.Memory = CappedMemory as typeof WebAssembly.Memory;
  return {
    maxBytes,
    get byteLength() {
      return made.reduce((most, memory) => Math.max(most, memory.buffer.byteLength), 0);
    },
  };
}
