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

/** An event of a scan. `key` identifies the work: source, spacing, mask, model and settings. */
export type CohortEvent =
  | { at: string; type: "begun"; key: string }
  | {
      at: string;
      type: "done";
      key: string;
      job: string;
      /** Etag of the source, if it is one object. */
      etag?: string;
      /** Whether the results existed already. */
      found: boolean;
      /** USD, forecast before the run. */
      forecast?: number;
    }
  | { at: string; type: "failed"; key: string; code: string; reason: string; etag?: string }
  /** A local file was uploaded; here `key` identifies the file's state. */
  | { at: string; type: "uploaded"; key: string; source: string }
  /** The scan is to run again. */
  | { at: string; type: "retried"; key: string }
  | { at: string; type: "cancelled" };

/** State of a scan after all its events. */
export type KeyState = { begun: number } & (
  | { status: "pending" }
  | { status: "running" }
  | Omit<Extract<CohortEvent, { type: "done" }> & { status: "done" }, "type" | "key">
  | Omit<Extract<CohortEvent, { type: "failed" }> & { status: "failed" }, "type" | "key">
  | Omit<Extract<CohortEvent, { type: "uploaded" }> & { status: "uploaded" }, "type" | "key">
);

const NEWLINE = 10;

/** Applies one event. Events of later versions are skipped. */
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

/** States after every complete line. An incomplete last line was being written when the process died. */
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
      // A line damaged on the disk is skipped: its scan runs again, or is found done.
      continue;
    }
    if (typeof event === "object" && event !== null) applyEvent(states, event as CohortEvent);
  }
  return { states, wholeBytes };
}

export function readJournal(file: string): Map<string, KeyState> {
  return existsSync(file) ? replayJournal(readFileSync(file)).states : new Map();
}

/** Append-only lines of JSON. `append` returns when its lines are on the disk. One writer at a time. */
export class Journal {
  readonly states: Map<string, KeyState>;
  readonly #fd: number;
  #size: number;

  private constructor(fd: number, states: Map<string, KeyState>, size: number) {
    this.#fd = fd;
    this.states = states;
    this.#size = size;
  }

  /** Opens the journal and cuts off an incomplete last line. */
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
      // An incomplete line would damage the next one, if there is space again by then.
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

/** Flushes a directory, so that a new file's name survives a power failure. */
export function syncDirectory(directory: string): void {
  try {
    const fd = openSync(directory, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // Some file systems and Windows cannot flush directories.
  }
}
