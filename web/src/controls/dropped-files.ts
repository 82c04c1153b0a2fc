import type { LocalFile } from "../data/file-store.ts";

/** Most files of a drop. */
const MAX_FILES = 100_000;

/** From a file input, with or without `webkitdirectory`. */
export function filesOfInput(list: FileList | null): LocalFile[] {
  return Array.from(list ?? [], (file) => ({ key: file.webkitRelativePath || file.name, file }));
}

/** The dropped files, and all files of dropped folders with their paths. @throws {Error} a sentence */
export async function filesOfDrop({ items, files }: DataTransfer): Promise<LocalFile[]> {
  // Entries must be taken before the first await: the browser empties the list.
  const entries = Array.from(items, (item) => item.webkitGetAsEntry?.()).filter((entry) => !!entry);
  if (entries.every(({ isFile }) => isFile)) return filesOfInput(files);
  const found: LocalFile[] = [];
  const walk = async (entry: FileSystemEntry): Promise<void> => {
    if (found.length >= MAX_FILES) throw new Error(`the folder has more than ${MAX_FILES} files`);
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) =>
        (entry as FileSystemFileEntry).file(resolve, reject),
      );
      found.push({ key: entry.fullPath.replace(/^\//, ""), file });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      // A reader gives a hundred entries at a time.
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
        reader.readEntries(resolve, reject),
      );
      if (some.length === 0) return;
      for (const below of some) await walk(below);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}
