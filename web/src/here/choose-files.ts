import type { LocalFile } from "../data/file-store.ts";
import type { PlacedKey } from "../data/place.ts";

/** A scan that the user chose: a file, or a directory with all of its files. */
export interface ChosenScan {
  name: string;
  image: PlacedKey;
}

/** Most files of a directory. */
const MAX_FILES = 100_000;

/** A scan of one file, or of files of one directory with their paths. */
function toScan(files: readonly LocalFile[]): ChosenScan {
  const [first] = files;
  if (first === undefined) throw new Error("nothing was chosen; choose a file or a folder");
  const top = first.key.split("/")[0]!;
  const isFolder = first.key.includes("/");
  if (files.some(({ key }) => key.split("/")[0] !== top || (!isFolder && files.length > 1)))
    throw new Error("several scans were chosen; choose one file, or one folder of a DICOM series");
  return { name: top, image: { key: top, place: { kind: "files", files } } };
}

/** From a file input, with or without `webkitdirectory`. */
export function scanOfInput(list: FileList | null): ChosenScan {
  return toScan(
    Array.from(list ?? [], (file) => ({ key: file.webkitRelativePath || file.name, file }) as const),
  );
}

/** From a drop. @throws {Error} a sentence */
export async function scanOfDrop({ items, files }: DataTransfer): Promise<ChosenScan> {
  // Entries must be taken before the first await: the browser empties the list.
  const entries = Array.from(items, (item) => item.webkitGetAsEntry?.()).filter((entry) => !!entry);
  if (entries.every(({ isFile }) => isFile)) return scanOfInput(files);
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
  return toScan(found);
}
