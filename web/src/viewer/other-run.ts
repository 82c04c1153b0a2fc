import type { RunManifest } from "../../../src/orchestrator/manifest/run-manifest.ts";
import { ImageClient } from "../data/image-client.ts";
import { type LabelMap, readLabelMap } from "../data/label-map.ts";
import { openPlace, type PlacedKey } from "../data/place.ts";

/** A second run of the same image, of which only the labels are shown. */
export interface OtherRun {
  manifest: RunManifest;
  labels: LabelMap;
  client: ImageClient;
}

/**
 * Opens a run to compare with.
 * @param first the run that it is compared with
 * @throws {Error} a sentence, if it has no labels or belongs to another image
 */
export async function openOtherRun(run: PlacedKey, first: RunManifest): Promise<OtherRun> {
  const store = openPlace(run.place);
  const stored = await store.get(`${run.key}/run.json`);
  if (stored === undefined) throw new Error(`${run.key} has no run.json: the run is not finished`);
  const manifest = JSON.parse(new TextDecoder().decode(stored.bytes)) as RunManifest;
  // The etag is that of one storage: copies of a scan have the same name and size.
  const { source } = manifest;
  const isSame =
    source.etag === first.source.etag ||
    (source.name === first.source.name && source.byteLength === first.source.byteLength);
  if (!isSame) throw new Error(`${run.key} is a run of ${source.name}, not of ${first.source.name}`);
  const key = `${run.key}/labels.ome.zarr`;
  const labels = await readLabelMap(store, key);
  if (labels === undefined)
    throw new Error(`${run.key} has no labels.ome.zarr, which the viewer compares; run with that output`);
  const client = new ImageClient({ key, place: run.place });
  await client.opened;
  return { manifest, labels, client };
}
