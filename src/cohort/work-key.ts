import { createHash } from "node:crypto";
import type { parseSegmentOptions } from "../local/options.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { VERSION } from "../orchestrator/version.ts";
import type { SharedOptions } from "./cohort-snapshot.ts";
import type { CohortRow } from "./manifest-rows.ts";

/** Identifies the model, its settings and outputs: whatever determines the results besides the scan. */
export function settingsDigest(
  model: ModelPackage,
  { settings, outputs, batchSize, segType }: ReturnType<typeof parseSegmentOptions>,
): string {
  return shortDigest([VERSION, model.hash, model.manifest.version, settings, outputs, batchSize, segType]);
}

/** Key of a row in the journal: the same scan with the same settings has the same key. `settings`: `settingsDigest`. */
export function workKey({ source, mpp, mask }: CohortRow, options: SharedOptions, settings: string): string {
  const chosen = [
    ...(options.pagesAs ? [options.pagesAs] : []),
    ...(options.time ? [`time ${options.time}`] : []),
  ];
  return shortDigest([source, mpp ?? options.mpp, mask ?? options.mask, options.series, settings, ...chosen]);
}

/** First 24 hexadecimal digits of the SHA-256 of the JSON of `parts`. */
export function shortDigest(parts: unknown): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 24);
}
