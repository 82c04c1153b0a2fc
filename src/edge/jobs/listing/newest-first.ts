import type { R2Bucket } from "@cloudflare/workers-types";

/**
 * A list in a bucket, newest first: an empty object for each entry, whose key sorts by time. Buckets list upwards, so times count
 * down to the last millisecond; 13 digits reach to the year 2286.
 */
export interface NewestFirst {
  bucket: R2Bucket;
  /** Of all keys of this list, with its final "/". */
  prefix: string;
}

/** What orders an entry. */
export interface ListedAt {
  /** ISO date and time. */
  createdAt: string;
  id: string;
}

interface Page<T> {
  entries: T[];
  /** For the next page; undefined at the end. */
  cursor?: string;
}

const LAST_MILLISECOND = 9_999_999_999_999;
const ENTRY = /^\d{13}-([0-9a-f]{32})$/;
/** Cursors of pages in addresses. */
export const LIST_CURSOR = /^\d{13}-[0-9a-f]{32}$/;
/** Entries that one request looks at, where a filter leaves most of them out. */
const MAX_SCANNED = 500;
/** Ledgers that are asked at the same time. */
const PARALLEL = 25;

export function listKey({ prefix }: Pick<NewestFirst, "prefix">, { createdAt, id }: ListedAt): string {
  return `${prefix}${String(LAST_MILLISECOND - Date.parse(createdAt)).padStart(13, "0")}-${id}`;
}

/** @param metadata that a filter sees without asking the entry's ledger */
export async function addToList(
  list: NewestFirst,
  at: ListedAt,
  metadata: Record<string, string> = {},
): Promise<void> {
  await list.bucket.put(listKey(list, at), "", { customMetadata: metadata });
}

/** Adds an entry unless it is there. */
export async function keepInList(
  list: NewestFirst,
  at: ListedAt,
  metadata?: Record<string, string>,
): Promise<void> {
  if (!(await list.bucket.head(listKey(list, at)))) await addToList(list, at, metadata);
}

export async function removeFromList(list: NewestFirst, at: ListedAt): Promise<void> {
  await list.bucket.delete(listKey(list, at));
}

/**
 * A page of a list. It may be short or empty although more follow: then it has a cursor.
 * @param select `matches`: by metadata, before anything is asked; `read`: the entry, undefined to leave it out
 */
export async function readList<T>(
  { bucket, prefix }: NewestFirst,
  select: {
    matches?: (metadata: Record<string, string>) => boolean;
    read: (id: string) => Promise<T | undefined>;
  },
  limit: number,
  cursor: string | undefined,
): Promise<Page<T>> {
  const entries: T[] = [];
  let after = cursor === undefined ? undefined : prefix + cursor;
  for (let scanned = 0; scanned < MAX_SCANNED; ) {
    const { objects, truncated } = await bucket.list({
      prefix,
      limit: PARALLEL,
      ...(after !== undefined && { startAfter: after }),
      include: ["customMetadata"],
    });
    scanned += PARALLEL;
    const matching = objects.flatMap(({ key, customMetadata = {} }) => {
      const id = ENTRY.exec(key.slice(prefix.length))?.[1];
      return id === undefined || select.matches?.(customMetadata) === false ? [] : [{ key, id }];
    });
    const found = await Promise.all(matching.map(({ id }) => select.read(id)));
    for (const [i, entry] of found.entries()) {
      if (entry === undefined) continue;
      entries.push(entry);
      // The next page begins with the entries that were read and not returned.
      if (entries.length === limit) return { entries, cursor: matching[i]!.key.slice(prefix.length) };
    }
    if (!truncated) return { entries };
    after = objects.at(-1)!.key;
  }
  return { entries, cursor: after!.slice(prefix.length) };
}
