import type { LabelMapInfo } from "../../../../src/image/label-sink.ts";
import {
  type OutputTargets,
  SEGMENTATION_TYPES,
  VOLUME_OUTPUTS,
} from "../../../../src/image/output-targets.ts";
import { writeOutputs } from "../../../../src/orchestrator/outputs/write-outputs.ts";
import type { ObjectStore } from "../../../../src/storage/object-store.ts";
import { openLabelStore, type ZarrLabelStore } from "../../../../src/writers/ome-zarr/label-store.ts";
import { blobs, storeVolume, volumeInfo } from "../../../orchestrator/outputs/volume-labels.ts";
import { madeSeries } from "../../../writers/made-dicom-source.ts";

const SHAPE = [9, 41, 37] as const;

/** Writes the outputs of one synthetic label volume, with each type of DICOM segmentation. */
export async function writeMadeVolume(
  type: number,
  store: ObjectStore,
  targets: (labelStore: ZarrLabelStore) => OutputTargets,
): Promise<unknown> {
  const info: LabelMapInfo = volumeInfo({ shape: SHAPE });
  const labelStore = await openLabelStore(store, "labels.ome.zarr", info);
  const labels = blobs(SHAPE);
  await storeVolume(labelStore, labels);
  const seed = "00112233445566778899";
  const affine = [
    [-0.8, 0, 0, 100],
    [0, -0.8, 0, 50],
    [0, 0, 2, -30],
    [0, 0, 0, 1],
  ];
  return writeOutputs({
    labelStore,
    outputs: VOLUME_OUTPUTS,
    targets: targets(labelStore),
    origin: {
      source: madeSeries(SHAPE[0], affine),
      segmentation: {
        type: SEGMENTATION_TYPES[type]!,
        seed,
        software: "0",
        algorithm: { name: "organs", version: "1" },
        level: 0,
        present: [],
      },
    },
    objects: undefined,
    source: "scan",
    idSeed: seed,
    analysedPixels: labels.length,
    readSlice: async (z) => ({
      data: new Uint8Array(SHAPE[1] * SHAPE[2]).fill(40 + z),
      shape: SHAPE.slice(1),
    }),
  });
}
