import type { RunManifest } from "../../../src/orchestrator/manifest/run-manifest.ts";
import { durationText } from "../controls/duration-text.ts";
import { openPlace } from "../data/place.ts";
import type { ServedModel, ViewedScan } from "../data/session.ts";
import { OUTLINES_FILE } from "./region-messages.ts";
import type { RegionOffer } from "./region-model.ts";

/** Regions of a scan that a command shows: with the settings of its run, if that was of the served model, else the defaults. */
export function viewRegion(scan: ViewedScan, model: ServedModel): RegionOffer {
  const { name, variant, place } = model;
  return {
    async prepare() {
      const run = scan.run && (await readRun(scan.run));
      const isSame = run?.model.name === name;
      const { roi: _, polygons: __, ...settings } = isSame ? run!.settings : {};
      const mpp = run?.source.mpp.at(-1);
      return {
        image: scan.image!,
        choices: mpp === undefined ? {} : { mpp },
        model: place,
        variant,
        settings,
        isEdge: false,
      };
    },
    costText({ windows }, preview) {
      if (!preview) return undefined;
      return `about ${durationText((windows * preview.milliseconds) / 1000)} on one core of this machine`;
    },
    command: ({ roi, polygons }, { tissueMask }) =>
      `tilewright segment ${quoted(scan.name)} --model ${name} --roi ${polygons ? OUTLINES_FILE : roi.join(",")}${tissueMask ? "" : " --no-tissue-mask"} --out region`,
  };
}

async function readRun({ place, key }: NonNullable<ViewedScan["run"]>): Promise<RunManifest | undefined> {
  const stored = await openPlace(place).get(`${key}/run.json`);
  return stored && (JSON.parse(new TextDecoder().decode(stored.bytes)) as RunManifest);
}

/** A name as one word of a shell. */
function quoted(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
