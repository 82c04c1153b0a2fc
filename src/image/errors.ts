/** The bytes are not an image Tilewright can read; `message` is one sentence that says why and what to do. */
export class ImageFormatError extends Error {
  override readonly name = "ImageFormatError";
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
  }
}
