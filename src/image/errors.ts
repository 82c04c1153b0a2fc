/** The bytes are not an image Tilewright can read; `message` is one sentence that says why and what to do. */
export class ImageFormatError extends Error {
  override readonly name = "ImageFormatError";
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
  }
}

/** There is nothing to open under the key; `message` is one sentence that says what to check. */
export class ImageNotFoundError extends Error {
  override readonly name = "ImageNotFoundError";
  readonly key: string;
  constructor(key: string, message: string) {
    super(message);
    this.key = key;
  }
}
