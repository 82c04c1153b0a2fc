import type { R2Bucket } from "@cloudflare/workers-types";
import { bucketTargets } from "../../../../src/edge/jobs/lifecycle/bucket-targets.ts";
import { resultsStore } from "../../../../src/edge/shared/results-store.ts";
import { writeMadeVolume } from "./write-volume.ts";

export default {
  async fetch(request: Request, { BUCKET }: { BUCKET: R2Bucket }): Promise<Response> {
    const type = Number(new URL(request.url).searchParams.get("type"));
    const prefix = `results/${type}/`;
    return Response.json(
      await writeMadeVolume(type, resultsStore(BUCKET, prefix), (labelStore) =>
        bucketTargets(BUCKET, prefix, labelStore),
      ),
    );
  },
};
