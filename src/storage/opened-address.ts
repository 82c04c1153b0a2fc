import type { ObjectStore } from "./object-store.ts";

/** Where a source is: a store, and a key in it. */
export interface OpenedAddress {
  store: ObjectStore;
  key: string;
  /** Last segment of the source, for messages and file names. */
  name: string;
  /** Closes files and connections. */
  close(): Promise<void>;
}
