import type { ImageSource } from "../image/image-source.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { sha256Hex } from "../storage/digest.ts";
import type { FullJobSettings } from "./settings.ts";

/**
 * The same source, model and settings give the same id: it names a job's work, so that a resume can tell its own
 * from another's.
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
    // Of volumes; hashes of 2-D jobs stay what they were.
    ...(model.manifest.input.orientation ? [model.manifest.input.orientation] : []),
    Object.entries(settings)
      .filter(([, v]) => v !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
    extra,
  ]);
  return sha256Hex(parts, 16);
}
