import { Zip, ZipPassThrough } from "fflate";
import type { LocalFile } from "../data/file-store.ts";

/** Bytes that are read from a blob at a time. */
const PIECE = 4 * 2 ** 20;
/** A zip without 64-bit fields ends here. */
const MAX_ZIP_BYTES = 0xffff_ffff;

/** The files as one zip. They are compressed already, so they are stored. @throws {Error} a sentence */
export async function zipFiles(files: readonly LocalFile[]): Promise<Blob> {
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  if (total > MAX_ZIP_BYTES)
    throw new Error("the results are larger than the 4 GB of a zip; save them to a folder instead");
  const parts: Blob[] = [];
  let failure: Error | undefined;
  const zip = new Zip((error, bytes) => {
    if (error) failure = error;
    // Copied into a blob at once, so that memory does not hold the whole zip.
    else parts.push(new Blob([bytes as Uint8Array<ArrayBuffer>]));
  });
  for (const { key, file } of files) {
    const entry = new ZipPassThrough(key);
    // The same results give the same zip. The format begins in 1980.
    entry.mtime = new Date(1980, 0, 1);
    zip.add(entry);
    for (let at = 0; at < file.size; at += PIECE) {
      const bytes = new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer());
      entry.push(bytes, false);
    }
    entry.push(new Uint8Array(0), true);
  }
  zip.end();
  if (failure) throw failure;
  return new Blob(parts, { type: "application/zip" });
}

/** Copies the files to a folder. */
export async function copyFiles(
  files: readonly LocalFile[],
  folder: FileSystemDirectoryHandle,
): Promise<void> {
  for (const { key, file } of files) {
    const names = key.split("/");
    let directory = folder;
    for (const name of names.slice(0, -1))
      directory = await directory.getDirectoryHandle(name, { create: true });
    const handle = await directory.getFileHandle(names.at(-1)!, { create: true });
    await file.stream().pipeTo(await handle.createWritable());
  }
}
