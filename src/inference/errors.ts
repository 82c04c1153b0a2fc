import { TilewrightError } from "../image/tilewright-error.ts";

/**
 * Messages of the runtimes for a lack of memory: BFCArena ("Failed to allocate memory for requested buffer"), CUDA ("CUDA
 * failure 2: out of memory", CUBLAS_STATUS_ALLOC_FAILED), Dawn ("out of memory", VK_ERROR_OUT_OF_DEVICE_MEMORY,
 * E_OUTOFMEMORY, a buffer that "exceeds the max buffer size", and one cut into more than a
 * shader can take), C++ (std::bad_alloc), V8 ("Array buffer allocation failed").
 */
const OUT_OF_MEMORY =
  /out[\s_-]*of[\s_-]*(\w+[\s_-])?memory|failed to allocate|not enough memory|alloc(ation)?[\s_-]*failed|(cannot|could not) allocate|bad_alloc|cudaErrorMemoryAllocation|\[Invalid Buffer.*\] is invalid due to a previous error|exceeds the (max(imum)? buffer size|maximum)|too many storage buffers in shader|larger than the maximum (storage )?buffer/i;

/** Whether a message of a runtime means that the device or the machine lacks memory for the run. */
export function isOutOfMemory(message: string): boolean {
  return OUT_OF_MEMORY.test(message);
}

/** A backend cannot run the model, or its response is not a segmentation. */
export class InferenceError extends TilewrightError {
  override readonly name = "InferenceError";
  /** Whether memory was lacking: fewer windows at a time may fit. Default: derived from the messages. */
  readonly outOfMemory: boolean;
  constructor(message: string, options: { cause?: unknown; outOfMemory?: boolean } = {}) {
    super(message, { cause: options.cause });
    const { cause } = options;
    this.outOfMemory =
      options.outOfMemory ??
      (isOutOfMemory(message) || (cause instanceof Error && isOutOfMemory(cause.message)));
  }
}

/** A segmentation service is unreachable, refuses the request, or returns an invalid response. */
export class RemoteError extends TilewrightError {
  override readonly name = "RemoteError";
  /** HTTP status, if there was a response. */
  readonly status: number | undefined;
  /** Error code of the service; "unreachable" and "bad_answer" are set by the client. */
  readonly code: string;
  /** Whether the same request may succeed later, or at another service. */
  readonly retryable: boolean;
  /** Retry-After of the service, if stated. */
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
