import { JobClient, type RemoteModel } from "../../../src/client/job-client.ts";
import { forecastCloudCost } from "../../../src/orchestrator/cloud-cost.ts";
import type { PlacedKey } from "../data/place.ts";
import { regionSettings } from "../region/region-messages.ts";
import type { RegionOffer } from "../region/region-model.ts";
import { dollarText } from "./job-text.ts";
import { openServedModel } from "./served-model.ts";

/** Regions of an uploaded scan without a job: planned and run with the default settings of a job. */
export function uploadRegion(
  token: string,
  source: string,
  image: PlacedKey,
  onOpen: (job: string) => void,
): RegionOffer {
  const client = new JobClient(location.origin, { token });
  let model: RemoteModel | undefined;
  return {
    async prepare() {
      const served = await openServedModel(client, token);
      model = served.model;
      return { image, choices: {}, model: served.place, variant: model.variant, settings: {}, isEdge: true };
    },
    costText: ({ windows, shards }) =>
      model && `about ${dollarText(forecastCloudCost(windows, shards, model.cpuMsPerWindow))}`,
    async run(region, { tissueMask }) {
      const settings = { ...regionSettings(region), tissueMask };
      onOpen((await client.startJob({ source, settings })).id);
    },
    isOpen: true,
  };
}
