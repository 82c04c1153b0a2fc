import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";

/** What happened to a scan. `key` names the work: source, spacing, mask, model and settings. */
export type CohortEvent =
  | { at: string; type: "begun"; key: string }
  | {
      at: string;
      type: "done";
      key: string;
      job: string;
      /** Of the source, where one object holds it. */
      etag?: string;
      /** The results of this job were there already. */
      found: boolean;
      /** Before it was done, in USD. */
      forecast?: number;
    }
  | { at: string; type: "failed"; key: string; code: string; reason: string; etag?: string }
  /** A local file lies at the service; here `key` names the file as it was. */
  | { at: string; type: "uploaded"; key: string; source: string }
  /** To be done again. */
  | { at: string; type: "retried"; key: string }
  | { at: string; type: "cancelled" };

/** What is known of a scan after all that happened. */
export type KeyState = { begun: number } & (
  | { status: "pending" }
  | { status: "running" }
  | Omit<Extract<CohortEvent, { type: "done" }> & { status: "done" }, "type" | "key">
  | Omit<Extract<CohortEvent, { type: "failed" }> & { status: "failed" }, "type" | "key">
  | Omit<Extract<CohortEvent, { type: "uploaded" }> & { status: "uploaded" }, "type" | "key">
);

const NEWLINE = 10;

/** Applies one event; what a later version may write is passed over. */
export function applyEvent(states: Map<string, KeyState>, event: CohortEvent): void {
  if (event.type === "cancelled" || typeof event.key !== "string") return;
  const begun = states.get(event.key)?.begun ?? 0;
  const { key, type, ...rest } = event;
  switch (event.type) {
    case "begun":
      states.set(key, { status: "running", begun: begun + 1 });
      break;
    case "done":
    case "failed":
    case "uploaded":
      states.set(key, { ...rest, status: type, begun } as KeyState);
      break;
    case "retried":
      states.set(key, { status: "pending", begun });
      break;
  }
}

/** The states after every whole line. A last line without its end was being written when the process died. */
export function replayJournal(bytes: Uint8Array): { states: Map<string, KeyState>; wholeBytes: number } {
  const states = new Map<string, KeyState>();
  const wholeBytes = bytes.lastIndexOf(NEWLINE) + 1;
  const text = new TextDecoder().decode(bytes.subarray(0, wholeBytes));
  for (const line of text.split("\n")) {
    if (line === "") continue;
    let event: unknown;
    try {
      event = JSON.parse(line);
    } catch {
      // A line that a failing disk spoiled says nothing; its scan is done again, or found done.
      continue;
    }
    if (typeof event === "object" && event !== null) applyEvent(states, event as CohortEvent);
  }
  return { states, wholeBytes };
}

export function readJournal(file: string): Map<string, KeyState> {
  return existsSync(file) ? replayJournal(readFileSync(file)).states : new Map();
}

/** Lines of JSON that are only ever added to, each on the disk before `append` returns. One writer at a time. */
export class Journal {
  readonly states: Map<string, KeyState>;
  readonly #fd: number;
  #size: number;

  private constructor(fd: number, states: Map<string, KeyState>, size: number) {
    this.#fd = fd;
    this.states = states;
    this.#size = size;
  }

  /** Cuts off a line that was never finished. */
  static open(file: string): Journal {
    const fd = openSync(file, "a+", 0o600);
    try {
      const { states, wholeBytes } = replayJournal(readFileSync(file));
      if (fstatSync(fd).size !== wholeBytes) {
        ftruncateSync(fd, wholeBytes);
        fsyncSync(fd);
      }
      syncDirectory(dirname(file));
      return new Journal(fd, states, wholeBytes);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  append(...events: readonly CohortEvent[]): void {
    if (events.length === 0) return;
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
      fsyncSync(this.#fd);
    } catch (error) {
      // Half a line would spoil the next one, if there is room again for that.
      ftruncateSync(this.#fd, this.#size);
      throw error;
    }
    this.#size += bytes.length;
    for (const event of events) applyEvent(this.states, event);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** So that a new file's name survives a power cut too. */
export function syncDirectory(directory: string): void {
  try {
    const fd = openSync(directory, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // Some file systems and Windows cannot; they keep names in their own time.
  }
}
