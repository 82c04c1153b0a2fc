import { openEngine } from "../../../src/inference/engine/open-engine.ts";
import { toIntensityNormalization } from "../../../src/inference/intensity-normalization.ts";
import { loadPackage } from "../../../src/model-package/load-package.ts";
import { HttpStore } from "../../../src/storage/http-store.ts";

/** The probabilities of a package's golden tile, as bytes. @param address of the package, with a slash at its end */
async function runGolden(address: string, variant: string): Promise<{ runtime: string; bytes: number[] }> {
  const model = await loadPackage(new HttpStore(address), "", address, { variant });
  const segmenter = await openEngine(model);
  const { spec, input } = model.golden;
  const scaling = toIntensityNormalization(model.manifest, spec.input.low, spec.input.high);
  const pixels = { data: input, shape: spec.input.shape };
  const { data } = await segmenter.segmentEncoded(pixels, { scaling, precision: "u8" });
  return { runtime: segmenter.info.runtime, bytes: data.flatMap((one) => [...(one as Uint8Array)]) };
}

Object.assign(globalThis, { runGolden });
