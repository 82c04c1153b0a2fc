import { useMemo } from "preact/hooks";
import { durationText } from "../controls/duration-text.ts";
import { regionTools } from "../region/open-region-tools.ts";
import type { RegionOffer } from "../region/region-model.ts";
import { ViewerPage } from "../viewer/viewer-page.tsx";
import type { ChosenScan } from "./choose-files.ts";
import { type RunChoices, typedMpp } from "./run-choices.ts";

interface ChooseRegionProps {
  scan: ChosenScan;
  choices: RunChoices;
  onRegion: (region: RunChoices["region"]) => void;
  onBack: () => void;
}

/** The scan in the viewer, with the tools for a region of a run in this tab. */
export function ChooseRegion({ scan, choices, onRegion, onBack }: ChooseRegionProps) {
  const tools = useMemo(() => regionTools(tabRegion(scan, choices, onRegion)), [scan]);
  return (
    <ViewerPage scan={scan} tools={tools}>
      <button type="button" onClick={onBack}>
        Back to the settings
      </button>
    </ViewerPage>
  );
}

function tabRegion(
  { image }: ChosenScan,
  choices: RunChoices,
  onRegion: ChooseRegionProps["onRegion"],
): RegionOffer {
  const { model, region } = choices;
  const mpp = typedMpp(choices);
  return {
    async prepare() {
      return {
        image,
        choices: mpp === undefined ? {} : { mpp },
        model: model.place,
        variant: model.variant,
        settings: { tissueMask: region?.tissueMask ?? true },
        isEdge: false,
      };
    },
    costText({ windows }, preview) {
      if (!preview) return undefined;
      return `about ${durationText((windows * preview.milliseconds) / 1000)} on one core of this machine`;
    },
    async run(chosen, settings) {
      onRegion({ ...chosen, ...settings });
    },
    runText: "Use the region",
    before: region,
    isOpen: true,
  };
}
