/**
 * Whether this isolate allows the shared heap that onnxruntime-web asks for, which Cloudflare documents nowhere.
 * @returns true, or the reason why not
 */
export function probeSharedMemory(): true | string {
  try {
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    return buffer instanceof ArrayBuffer ? "the memory that was made is not shared" : true;
  } catch (error) {
    return (error as Error).message;
  }
}
