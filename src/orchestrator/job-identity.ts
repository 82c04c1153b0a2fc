import type { ImageSource } from "../image/image-source.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { sha256Hex } from "../storage/digest.ts";
import type { FullJobSettings } from "./settings.ts";

/**
 * Hash of source, model and settings. It names the work of a job, so that a resumed run continues only its own.
 */
export async function jobIdentity(
  source: ImageSource,
  model: ModelPackage,
  settings: FullJobSettings,
  extra: Record<string, unknown> = {},
): Promise<string> {
  const parts = JSON.stringify([
    source.etag,
    source.spacing,
    model.hash,
    model.manifest.version,
    // Only for volumes, so that the ids of 2-D jobs do not change.
    ...(model.manifest.input.orientation ? [model.manifest.input.orientation] : []),
    Object.entries(settings)
      .filter(([, v]) => v !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
    extra,
  ]);
  return sha256Hex(parts, 16);
}
