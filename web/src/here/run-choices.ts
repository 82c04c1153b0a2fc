import type { ServedModel } from "../data/session.ts";
import type { ChosenRegion } from "../region/region-messages.ts";
import type { RegionChoices } from "../region/region-model.ts";

/** What a user chooses for a run in the tab. */
export interface RunChoices {
  model: ServedModel;
  /** Micrometres per pixel as typed; empty: as the file states. */
  mpp: string;
  /** Whether the results go to a folder that the user chooses. */
  toFolder: boolean;
  /** Undefined: the whole scan. */
  region?: ChosenRegion & RegionChoices;
}

/** The pixel size that was typed. */
export function typedMpp({ mpp }: RunChoices): number | undefined {
  return mpp.trim() === "" ? undefined : Number(mpp);
}
