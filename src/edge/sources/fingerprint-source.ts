import type { JobDocument } from "../../contracts/job-plan-message.ts";
import { ImageFormatError } from "../../image/errors.ts";
import { DEFAULT_LIMITS } from "../../image/limits.ts";
import { openOmeZarr } from "../../readers/zarr/ome-zarr.ts";
import { HttpError } from "../../service/http-error.ts";
import type { SourceStore } from "./open-source-store.ts";
import { resolveSource } from "./resolve-source.ts";

/**
 * Identifies the content of a source, so that a later change is noticed. The etag of a Zarr covers all its metadata.
 * @throws {HttpError} 404 where there is no source, 422 for a Zarr that cannot be read
 */
export async function fingerprintSource(
  opened: SourceStore,
  signal: AbortSignal,
): Promise<Omit<JobDocument["source"], "uri" | "name">> {
  const { uri, key, objects } = opened;
  const found = await resolveSource(opened, signal);
  if (!found) {
    const advice = objects
      ? "check bucket and key"
      : "check the address; web servers do not list directories";
    throw new HttpError(404, "source_missing", `there is no ${uri}: ${advice}`);
  }
  if (found.kind === "object") return found.info;
  if (found.kind === "prefix") return { ...found.info, kind: "prefix" };
  try {
    const image = await openOmeZarr(found.store, key, DEFAULT_LIMITS, signal);
    if (!image) throw new ImageFormatError(`${uri} is no OME-Zarr`);
    await image.close();
    return { etag: image.etag, byteLength: 0, kind: "zarr" };
  } catch (error) {
    if (error instanceof ImageFormatError) throw new HttpError(422, "source_unreadable", error.message);
    throw error;
  }
}
