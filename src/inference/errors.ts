/**
 * What the runtimes say when memory is missing: BFCArena ("Failed to allocate memory for requested buffer"), CUDA ("CUDA
 * failure 2: out of memory", CUBLAS_STATUS_ALLOC_FAILED), Dawn ("out of memory", VK_ERROR_OUT_OF_DEVICE_MEMORY,
 * E_OUTOFMEMORY, a buffer that "exceeds the max buffer size", and one cut into more than a
 * shader can take), C++ (std::bad_alloc), V8 ("Array buffer allocation failed").
 */
const OUT_OF_MEMORY =
  /out[\s_-]*of[\s_-]*(\w+[\s_-])?memory|failed to allocate|not enough memory|alloc(ation)?[\s_-]*failed|(cannot|could not) allocate|bad_alloc|cudaErrorMemoryAllocation|\[Invalid Buffer.*\] is invalid due to a previous error|exceeds the (max(imum)? buffer size|maximum)|too many storage buffers in shader|larger than the maximum (storage )?buffer/i;

/** Whether a runtime's message says that the device, or the machine, has no memory for this run. */
export function isOutOfMemory(message: string): boolean {
  return OUT_OF_MEMORY.test(message);
}

/** A backend could not run the model or answered with something that is no segmentation. */
export class InferenceError extends Error {
  override readonly name = "InferenceError";
  /** Whether there was no memory for it: fewer windows at a time may go. Read off the messages where it is not told. */
  readonly outOfMemory: boolean;
  constructor(message: string, options: { cause?: unknown; outOfMemory?: boolean } = {}) {
    super(message, { cause: options.cause });
    const { cause } = options;
    this.outOfMemory =
      options.outOfMemory ??
      (isOutOfMemory(message) || (cause instanceof Error && isOutOfMemory(cause.message)));
  }
}

/** A service that segments could not be reached, refused, or answered with something else than was asked for. */
export class RemoteError extends Error {
  override readonly name = "RemoteError";
  /** HTTP status, where there was an answer. */
  readonly status: number | undefined;
  /** The service's own word for what went wrong; "unreachable" and "bad_answer" are ours. */
  readonly code: string;
  /** Whether the same request may succeed later, or at another place. */
  readonly retryable: boolean;
  /** When the service wants to be asked again, where it said so. */
  readonly retryAfterMs: number | undefined;
  constructor(
    message: string,
    options: {
      code: string;
      retryable: boolean;
      status?: number;
      retryAfterMs?: number;
      cause?: unknown;
    },
  ) {
    super(message, { cause: options.cause });
    this.status = options.status;
    this.code = options.code;
    this.retryable = options.retryable;
    this.retryAfterMs = options.retryAfterMs;
  }
}
