/**
 * Whether this isolate allows the shared heap that onnxruntime-web needs. Cloudflare does not document it.
 * @returns true, or the reason why not
 */
export function probeSharedMemory(): true | string {
  try {
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    return buffer instanceof ArrayBuffer ? "the allocated memory is not shared" : true;
  } catch (error) {
    return (error as Error).message;
  }
}
