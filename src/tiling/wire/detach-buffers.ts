/**
 * Gives the memory under these views back now, whoever else looks at it. A garbage collector sees a few bytes of each
 * megabyte that a window has, and that megabyte sets it off, over and over.
 */
export function detachBuffers(...views: readonly ArrayBufferView[]): void {
  for (const { buffer } of views) if (buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0);
}
