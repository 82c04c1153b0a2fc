import type { LocalFile } from "../data/file-store.ts";
import { storeFile, uploadFile } from "./upload-file.ts";
import { uploadFolder } from "./upload-folder.ts";

/** @throws {Error} a sentence */
type Send = (token: string, signal: AbortSignal, onProgress: (bytes: number) => void) => Promise<string>;

/** A scan to send: a file, or a folder with all that is in it. */
export interface ChosenUpload {
  /** Of this choice alone: the same file may be chosen again. */
  key: number;
  name: string;
  byteLength: number;
  /** @returns the job that it started */
  send: Send;
  /** Sends it without a job. Undefined: a folder, which is shown only with its job. @returns the id of the upload */
  store?: Send;
}

let chosen = 0;

/** Files of one folder are one scan, others one each. `problem` says what cannot be uploaded. */
export function chooseUploads(files: readonly LocalFile[]): { uploads: ChosenUpload[]; problem?: string } {
  const folders = new Map<string, LocalFile[]>();
  const uploads: ChosenUpload[] = [];
  const empty: string[] = [];
  for (const { key, file } of files) {
    const at = key.indexOf("/");
    if (at > 0) {
      const name = key.slice(0, at);
      const inside = folders.get(name) ?? [];
      inside.push({ key: key.slice(at + 1), file });
      folders.set(name, inside);
    } else if (file.size === 0) empty.push(key);
    else
      uploads.push({
        key: chosen++,
        name: key,
        byteLength: file.size,
        send: (token, signal, onProgress) => uploadFile(token, file as File, signal, onProgress),
        store: (token, signal, onProgress) => storeFile(token, file as File, signal, onProgress),
      });
  }
  for (const [name, inside] of folders) {
    const byteLength = inside.reduce((sum, { file }) => sum + file.size, 0);
    if (byteLength === 0) empty.push(name);
    else
      uploads.push({
        key: chosen++,
        name,
        byteLength,
        send: (token, signal, onProgress) => uploadFolder(token, { name, files: inside }, signal, onProgress),
      });
  }
  const [first] = empty;
  return { uploads, problem: first && `${first} is empty and was not uploaded.` };
}
