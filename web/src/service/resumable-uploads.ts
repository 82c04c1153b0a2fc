/** Uploads that are not complete, by file: a reload of the page forgets neither them nor their parts. */
const KEY = "tilewright-uploads";
/** Older ones have been given up by the service. */
const KEPT_MS = 7 * 24 * 3600 * 1000;

type Kept = Record<string, { id: string; at: number }>;

/** What tells a file, or a folder as a whole, from others. */
export type KnownFile = Pick<File, "name" | "size" | "lastModified">;

function fileKey({ name, size, lastModified }: KnownFile): string {
  return `${name}/${size}/${lastModified}`;
}

function readKept(): Kept {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Kept;
    return Object.fromEntries(Object.entries(kept).filter(([, { at }]) => Date.now() - at < KEPT_MS));
  } catch {
    return {};
  }
}

function write(kept: Kept): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // Without storage an upload begins again after a reload.
  }
}

/** Id of the unfinished upload of a file. */
export function findUpload(file: KnownFile): string | undefined {
  return readKept()[fileKey(file)]?.id;
}

export function keepUpload(file: KnownFile, id: string): void {
  write({ ...readKept(), [fileKey(file)]: { id, at: Date.now() } });
}

export function forgetUpload(file: KnownFile): void {
  const { [fileKey(file)]: _, ...rest } = readKept();
  write(rest);
}
