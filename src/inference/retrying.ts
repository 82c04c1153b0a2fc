import { pause } from "../storage/with-retry.ts";
import { RemoteError } from "./errors.ts";
import type { Segmenter } from "./segmenter.ts";

const TRIES = 8;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 20_000;

/** Sends a batch again that an edge function could not take, with growing pauses; what no other try would change is thrown. */
export function retrying(segmenter: Segmenter): Segmenter {
  return {
    info: segmenter.info,
    close: () => segmenter.close(),
    async segment(batch, options) {
      for (let tries = 1; ; tries++) {
        try {
          return await segmenter.segment(batch, options);
        } catch (error) {
          if (!(error instanceof RemoteError) || !error.retryable || tries === TRIES) throw error;
        }
        // Half of the pause is by chance, or callers that were refused together would come again together.
        const ms = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** tries) * (0.5 + Math.random() / 2);
        await pause(ms, options.signal);
      }
    },
  };
}
