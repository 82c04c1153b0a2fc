import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FsStore } from "../../../src/storage/fs-store.ts";
import { createDirectoryTargets } from "../../../src/writers/directory-targets.ts";
import { type Bundle, bundleWorker, runWorker } from "../run-worker.ts";
import { writeMadeVolume } from "./volume-worker/write-volume.ts";

let bundle: Bundle;
let worker: Miniflare;
beforeAll(async () => {
  bundle = await bundleWorker("test/edge/jobs/volume-worker/wrangler.toml");
  worker = await runWorker(bundle, { buckets: ["BUCKET"] });
});
afterAll(async () => {
  await worker?.dispose();
  await bundle?.remove();
});

it.each([0, 1, 2])(
  "outputs of a volume are the same bytes in workerd as in a directory (%i)",
  async (type) => {
    const directory = mkdtempSync(join(tmpdir(), "volume-"));
    const store = new FsStore(directory);
    try {
      const here = await writeMadeVolume(type, store, (labelStore) =>
        createDirectoryTargets({ directory, store, labelStore }),
      );
      const response = await fetch(new URL(`/?type=${type}`, await worker.ready));
      expect(response.status, await response.clone().text()).toBe(200);
      expect(await response.json()).toEqual(JSON.parse(JSON.stringify(here)));
      const dicom = await (await worker.getR2Bucket("BUCKET")).head(`results/${type}/labels.seg.dcm`);
      expect(dicom!.httpMetadata!.contentType).toBe("application/dicom");
    } finally {
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    }
  },
);
