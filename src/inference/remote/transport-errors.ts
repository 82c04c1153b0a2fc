import { RemoteError } from "../errors.ts";
import { IncompleteResponseError, ResponseTooLargeError } from "./http-request.ts";

/** What a request that got no whole answer means for who asked. @param cause what `httpRequest` threw */
export function toRemoteError(host: string, cause: unknown): RemoteError {
  if (cause instanceof ResponseTooLargeError) {
    const sentence = `${host} answers with more than was asked for: ${cause.message}`;
    return new RemoteError(sentence, { code: "bad_answer", retryable: false, cause });
  }
  return cause instanceof IncompleteResponseError
    ? new RemoteError(`the answer of ${host} broke off`, { code: "bad_answer", retryable: true, cause })
    : new RemoteError(`cannot reach ${host}; check the address and the network`, {
        code: "unreachable",
        retryable: true,
        cause,
      });
}
