/** A backend could not run the model or answered with something that is no segmentation. */
export class InferenceError extends Error {
  override readonly name = "InferenceError";
  /** Whether there was no memory for it: fewer windows at a time may go. */
  readonly outOfMemory: boolean;
  constructor(message: string, options: { cause?: unknown; outOfMemory?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.outOfMemory = options.outOfMemory ?? false;
  }
}

/**
 * Whether a runtime's message says that there was no memory: JavaScript's, the CPU's, CUDA's or WebGPU's. That one makes buffers
 * it has no room for invalid and complains when they are used, and cuts what is too large into more than a shader can take.
 */
export function isOutOfMemory(message: string): boolean {
  return OUT_OF_MEMORY.test(message);
}

const OUT_OF_MEMORY =
  /out of memory|bad_alloc|array buffer allocation failed|failed to allocate memory|not enough memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED|\[Invalid Buffer.*\] is invalid due to a previous error|too many storage buffers in shader/i;

/** A service that segments could not be reached, refused, or answered with something else than was asked for. */
export class RemoteError extends Error {
  override readonly name = "RemoteError";
  /** HTTP status, where there was an answer. */
  readonly status: number | undefined;
  /** The service's own word for what went wrong; "unreachable" and "bad_answer" are ours. */
  readonly code: string;
  /** Whether the same request may succeed later, or at another place. */
  readonly retryable: boolean;
  constructor(
    message: string,
    options: { code: string; retryable: boolean; status?: number; cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.status = options.status;
    this.code = options.code;
    this.retryable = options.retryable;
  }
}
