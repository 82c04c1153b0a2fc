import type { OutputTargets } from "../image/output-targets.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import type { ZarrLabelStore } from "../writers/ome-zarr/label-store.ts";

/** Where a job keeps its work and where its outputs go: a directory, or memory. */
export interface Workspace {
  /** The work: chunks of the label map, and what earlier attempts counted. */
  readonly store: ObjectStore;
  /** Whether work of the same job exists and is continued. */
  readonly resuming: boolean;
  /** @param labelStore becomes `labels.ome.zarr` in place, if given */
  targets(labelStore: ZarrLabelStore | undefined): OutputTargets;
  /** Gives finished outputs their final names, the manifest (JSON) last. */
  publish(names: readonly string[], manifest: string): Promise<void>;
  /** Forgets a job that failed before it did any work. */
  discard(): void;
  /** Ends the use; unfinished work may stay for a later attempt. */
  close(): Promise<void>;
}
