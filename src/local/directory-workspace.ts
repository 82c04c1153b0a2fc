import type { OutputTargets } from "../image/output-targets.ts";
import type { RunManifest } from "../orchestrator/manifest/run-manifest.ts";
import type { Workspace } from "../portable/workspace.ts";
import { createDirectoryTargets } from "../writers/directory-targets.ts";
import type { ZarrLabelStore } from "../writers/ome-zarr/label-store.ts";
import { type OpenFlags, RunDirectory } from "./run-directory.ts";
import { WorkStore } from "./work-store.ts";

/** A `RunDirectory` as the place of a job. */
export class DirectoryWorkspace implements Workspace {
  readonly store: WorkStore;
  readonly #directory: RunDirectory;

  private constructor(directory: RunDirectory) {
    this.#directory = directory;
    this.store = new WorkStore(directory.work);
  }

  /** @returns the manifest instead, if the same job is finished there and `resume` is set */
  static open(path: string, job: string, flags: OpenFlags): DirectoryWorkspace | RunManifest {
    const opened = RunDirectory.open(path, job, flags);
    return typeof opened === "string" ? (JSON.parse(opened) as RunManifest) : new DirectoryWorkspace(opened);
  }

  get resuming(): boolean {
    return this.#directory.resuming;
  }

  targets(labelStore: ZarrLabelStore | undefined): OutputTargets {
    return createDirectoryTargets({ directory: this.#directory.work, store: this.store, labelStore });
  }

  async publish(names: readonly string[], manifest: string): Promise<void> {
    this.#directory.publish(names, manifest);
  }

  discard(): void {
    this.#directory.discard();
  }

  async close(): Promise<void> {
    await this.store.close();
    this.#directory.release();
  }
}
