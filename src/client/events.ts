import { createParser } from "eventsource-parser";

/** One event of a server-sent stream (HTML standard, 9.2.6). */
export interface ServerEvent {
  event: string;
  data: string;
}

/** An event is the status of a job, which is far smaller. */
const MAX_EVENT_LENGTH = 1 << 20;

/**
 * Parses a stream of events.
 * @param onActivity called for each event and each comment: servers send comments to keep a connection open
 * @throws {RangeError} for an event that does not end
 */
export async function* serverEvents(
  body: AsyncIterable<Uint8Array>,
  onActivity: () => void = () => {},
): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  const events: ServerEvent[] = [];
  let pendingLength = 0;
  const onProgress = () => {
    pendingLength = 0;
    onActivity();
  };
  const parser = createParser({
    onComment: onProgress,
    onEvent({ event = "message", data }) {
      onProgress();
      events.push({ event, data });
    },
  });
  for await (const chunk of body) {
    const text = decoder.decode(chunk, { stream: true });
    pendingLength += text.length;
    parser.feed(text);
    yield* events.splice(0);
    if (pendingLength > MAX_EVENT_LENGTH) {
      throw new RangeError(`an event has more than ${MAX_EVENT_LENGTH} characters`);
    }
  }
}
