import { JobClient, type RemoteModel, type StatedRequest } from "../../../src/client/job-client.ts";
import { forecastCloudCost } from "../../../src/orchestrator/cloud-cost.ts";
import { regionSettings } from "../region/region-messages.ts";
import type { RegionOffer } from "../region/region-model.ts";
import { dollarText } from "./job-text.ts";

/** Regions of a job's scan: planned with the settings of the job, and run as another job of the same scan. */
export function jobRegion(token: string, job: string, onOpen: (job: string) => void): RegionOffer {
  const client = new JobClient(location.origin, { token });
  let request: StatedRequest | undefined;
  let model: RemoteModel | undefined;
  const below = (path: string, list?: string) => ({
    kind: "server" as const,
    store: { base: `${location.origin}${path}`, token, ...(list && { list: `${location.origin}${list}` }) },
  });
  return {
    async prepare() {
      [request, model] = await Promise.all([client.request(job), client.model()]);
      const file = await fetch("/v1/model/files/model.json", {
        headers: { Authorization: `Bearer ${token}` },
      });
      await file.body?.cancel();
      if (file.status === 403)
        throw new Error(
          "this token may not start jobs (it lacks the scope submit), so no region can be segmented",
        );
      const { mpp, series, time, pagesAs, name } = request;
      const { roi: _, polygons: __, ...settings } = request.settings;
      const source = `/v1/jobs/${job}/source`;
      return {
        image: { key: name, place: below(`${source}/`, source) },
        choices: { mpp, series, time, pagesAs },
        model: { key: "files", place: below("/v1/model/") },
        variant: model.variant,
        settings,
        isEdge: true,
      };
    },
    costText: ({ windows, shards }) =>
      model && `about ${dollarText(forecastCloudCost(windows, shards, model.cpuMsPerWindow))}`,
    async run(region, { tissueMask }) {
      const { name: _, ...rest } = request!;
      const { roi: __, polygons: ___, ...same } = rest.settings;
      const settings = { ...same, ...regionSettings(region), tissueMask };
      const started = await client.startJob({ ...rest, settings });
      onOpen(started.id);
    },
  };
}
