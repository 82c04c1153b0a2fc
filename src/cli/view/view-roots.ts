import { realpath } from "node:fs/promises";
import path from "node:path";
import { checkKey } from "../../storage/key.ts";
import type { ObjectStore } from "../../storage/object-store.ts";

/** An object, or all objects below a key, that a page may read. */
export interface ViewRoot {
  store: ObjectStore;
  key: string;
  /** Directory of the store, if it is one of this machine. */
  directory?: string;
}

/**
 * Whether a key belongs to a root: it is the root's own, or lies below it, and no symbolic link leads elsewhere.
 */
export async function isInside(root: ViewRoot, key: string): Promise<boolean> {
  try {
    checkKey(key);
  } catch {
    return false;
  }
  if (key !== root.key && !key.startsWith(`${root.key}/`)) return false;
  if (root.directory === undefined) return true;
  const top = path.join(root.directory, root.key);
  // What does not exist is answered as such later.
  const [real, realTop] = await Promise.all(
    [path.join(root.directory, ...key.split("/")), top].map((file) => realpath(file).catch(() => undefined)),
  );
  if (real === undefined || realTop === undefined) return true;
  return real === realTop || real.startsWith(realTop + path.sep);
}
