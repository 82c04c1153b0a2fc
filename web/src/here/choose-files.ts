import { filesOfDrop, filesOfInput } from "../controls/dropped-files.ts";
import type { LocalFile } from "../data/file-store.ts";
import type { PlacedKey } from "../data/place.ts";

/** A scan that the user chose: a file, or a directory with all of its files. */
export interface ChosenScan {
  name: string;
  image: PlacedKey;
}

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
  return toScan(filesOfInput(list));
}

/** From a drop. @throws {Error} a sentence */
export async function scanOfDrop(data: DataTransfer): Promise<ChosenScan> {
  return toScan(await filesOfDrop(data));
}
