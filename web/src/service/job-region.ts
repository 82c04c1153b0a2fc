import { JobClient, type RemoteModel, type StatedRequest } from "../../../src/client/job-client.ts";
import { forecastCloudCost } from "../../../src/orchestrator/cloud-cost.ts";
import { regionSettings } from "../region/region-messages.ts";
import type { RegionOffer } from "../region/region-model.ts";
import { dollarText } from "./job-text.ts";
import { openServedModel } from "./served-model.ts";

/** Regions of a job's scan: planned with the settings of the job, and run as another job of the same scan. */
export function jobRegion(token: string, job: string, onOpen: (job: string) => void): RegionOffer {
  const client = new JobClient(location.origin, { token });
  let request: StatedRequest | undefined;
  let model: RemoteModel | undefined;
  return {
    async prepare() {
      const [stated, served] = await Promise.all([client.request(job), openServedModel(client, token)]);
      request = stated;
      model = served.model;
      const { mpp, series, time, pagesAs, name } = request;
      const { roi: _, polygons: __, ...settings } = request.settings;
      const source = `${location.origin}/v1/jobs/${job}/source`;
      return {
        image: {
          key: name,
          place: { kind: "server", store: { base: `${source}/`, token, list: source } },
        },
        choices: { mpp, series, time, pagesAs },
        model: served.place,
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
