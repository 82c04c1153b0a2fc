/** One event of a server-sent stream. */
export interface ServerEvent {
  event: string;
  data: string;
}

/** An event is the status of a job: far below this. */
const MAX_EVENT_LENGTH = 1 << 20;

/**
 * The events of a stream as they come in (HTML standard, 9.2.6); comments, which keep the connection open, are told of
 * by `onLine` alone.
 * @throws {RangeError} for an event that has no end
 */
export async function* serverEvents(
  body: AsyncIterable<Uint8Array>,
  onLine: () => void = () => {},
): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  let event = "";
  let data: string[] = [];
  let length = 0;
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    // A final "\r" may be the first half of a line's end.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop()!;
    for (const line of lines) {
      onLine();
      if (line === "") {
        if (data.length > 0) yield { event: event || "message", data: data.join("\n") };
        event = "";
        data = [];
        length = 0;
        continue;
      }
      length += line.length;
      const [, field, value] = /^([^:]*)(?:: ?(.*))?$/.exec(line)!;
      if (field === "event") event = value ?? "";
      if (field === "data") data.push(value ?? "");
    }
    if (rest.length + length > MAX_EVENT_LENGTH) {
      throw new RangeError(`an event has more than ${MAX_EVENT_LENGTH} characters`);
    }
  }
}
