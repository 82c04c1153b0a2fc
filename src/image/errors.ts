import { TilewrightError } from "./tilewright-error.ts";

/** The bytes are not an image that Tilewright reads; `message` is one sentence that says why and what to do. */
export class ImageFormatError extends TilewrightError {
  override readonly name = "ImageFormatError";
  constructor(message: string, options?: { cause?: unknown }) {
    super(oneLine(message), options);
  }
}

/**
 * Control characters, line ends and bidirectional marks. Names of files and of archive entries may contain them, and
 * they would break a message in two or change how it reads.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

export function oneLine(message: string): string {
  return message.replace(UNPRINTABLE, "\ufffd");
}

/** Nothing exists under the key; `message` is one sentence that says what to check. */
export class ImageNotFoundError extends TilewrightError {
  override readonly name = "ImageNotFoundError";
  readonly key: string;
  constructor(key: string, message: string) {
    super(oneLine(message));
    this.key = key;
  }
}
