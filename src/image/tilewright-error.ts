/** Marks the errors also where an application holds two copies of this package, whose classes differ. */
const MARK: symbol = Symbol.for("tilewright.error");

/** Base of every error that Tilewright throws on purpose: its message is one sentence for a person; `name` is the class. */
export abstract class TilewrightError extends Error {
  static {
    Object.defineProperty(TilewrightError.prototype, MARK, { value: true });
  }
}

/**
 * Whether `error` is one that Tilewright throws on purpose; any other is a bug, an abort, or of the operating
 * system.
 */
export function isTilewrightError(error: unknown): error is TilewrightError {
  return error instanceof Error && MARK in error;
}
