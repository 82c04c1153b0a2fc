import { RemoteError } from "../errors.ts";
import { IncompleteResponseError, ResponseTooLargeError } from "./http-request.ts";

/** Converts an error of `httpRequest`: no response, or an incomplete one. */
export function toRemoteError(host: string, cause: unknown): RemoteError {
  if (cause instanceof ResponseTooLargeError) {
    const sentence = `the response of ${host} is too large: ${cause.message}`;
    return new RemoteError(sentence, { code: "bad_answer", retryable: false, cause });
  }
  return cause instanceof IncompleteResponseError
    ? new RemoteError(`the response of ${host} is incomplete`, { code: "bad_answer", retryable: true, cause })
    : new RemoteError(`cannot reach ${host}; check the address and the network`, {
        code: "unreachable",
        retryable: true,
        cause,
      });
}
