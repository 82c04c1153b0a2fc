import { isObjectKey } from "../../shared/object-key.ts";
import { FOLDER, fileName, UPLOAD_ID, uploadKey } from "./upload-plan.ts";

/** The key of a file in a folder; `path` starts with the folder's name. Undefined for an invalid path. */
export function folderFileKey(id: string, path: string): string | undefined {
  const [name = "", ...rest] = path.split("/");
  if (!UPLOAD_ID.test(id) || fileName(name) !== name || rest.length === 0) return undefined;
  const key = uploadKey(id, path);
  return isObjectKey(key) && !path.includes("\\") ? key : undefined;
}

/** Whether an object is a file of an uploaded folder, which is not a scan by itself. */
export function isFolderFile(key: string): boolean {
  const [folder, id = "", name, ...rest] = key.split("/");
  return folder === FOLDER && UPLOAD_ID.test(id) && !!name && rest.length > 0;
}
