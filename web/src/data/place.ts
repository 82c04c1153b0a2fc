import type { ObjectStore } from "../../../src/storage/object-store.ts";
import { withRetry } from "../../../src/storage/retry.ts";
import { createFileStore, type LocalFile } from "./file-store.ts";
import { openPageStore, type StoreAddress } from "./page-store.ts";

/** Where objects lie: at the server of the page, or in files and blobs of this tab. Workers can be sent it. */
export type Place = { kind: "server"; store: StoreAddress } | { kind: "files"; files: readonly LocalFile[] };

/** An object, or all objects below a key. */
export interface PlacedKey {
  key: string;
  place: Place;
}

export function openPlace(place: Place): ObjectStore {
  return place.kind === "server" ? withRetry(openPageStore(place.store)) : createFileStore(place.files);
}
