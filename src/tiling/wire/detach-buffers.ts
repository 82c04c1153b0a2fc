/**
 * Frees the buffers of these views at once; other views of them become empty. The garbage collector would see a few bytes
 * of each megabyte of a window, and run over and over because of that megabyte.
 */
export function detachBuffers(...views: readonly ArrayBufferView[]): void {
  for (const { buffer } of views) if (buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0);
}
