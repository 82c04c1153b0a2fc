/** The bytes are not an image Tilewright can read; `message` is one sentence that says why and what to do. */
export class ImageFormatError extends Error {
  override readonly name = "ImageFormatError";
  constructor(message: string, options?: { cause?: unknown }) {
    super(oneLine(message), options);
  }
}

/**
 * Control characters, ends of lines and marks that turn the direction of a text, as names of files may hold them (also of
 * those in archives): they would make two lines of a message, or another one of it.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

export function oneLine(message: string): string {
  return message.replace(UNPRINTABLE, "\ufffd");
}

/** There is nothing to open under the key; `message` is one sentence that says what to check. */
export class ImageNotFoundError extends Error {
  override readonly name = "ImageNotFoundError";
  readonly key: string;
  constructor(key: string, message: string) {
    super(oneLine(message));
    this.key = key;
  }
}
