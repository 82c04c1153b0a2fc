import type { Format, Objects, Seed } from "./seeds.ts";

const KEYS: Record<Format, string> = {
  tiff: "made.tif",
  ome: "made.ome.tif",
  dicom: "made.dcm",
  series: "scan",
  zip: "made.zip",
  nifti: "made.nii",
  png: "made.png",
  jpeg: "made.jpg",
  zarr: "made.ome.zarr",
  model: "model",
  manifest: "made.csv",
  mask: "made.geojson",
};

/** A seed that is made on first use. */
export function seed(format: Format, name: string, make: () => Uint8Array | Objects, size = 10_000): Seed {
  let made: Objects | undefined;
  const key = KEYS[format];
  const load = () => {
    const bytes = made ?? make();
    made = bytes instanceof Uint8Array ? { [key]: bytes } : bytes;
    return made;
  };
  return { format, name: `made ${name}`, key, size, load };
}
