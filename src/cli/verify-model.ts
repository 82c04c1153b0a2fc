import { checkGoldenTile } from "../inference/golden-tile.ts";
import { OrtNodeSegmenter } from "../inference/ort-node.ts";
import { loadModel } from "./find-model.ts";

/** Hashes and golden tile of each variant; throws at the first that fails. */
export async function verifyModel(
  name: string,
  options: { variant?: string; json?: boolean; signal?: AbortSignal },
): Promise<void> {
  const { manifest } = await loadModel(name, { variant: options.variant, signal: options.signal });
  const variants = options.variant ? [options.variant] : Object.keys(manifest.variants);
  const results = [];
  for (const variant of variants) {
    const model = await loadModel(name, { variant, signal: options.signal });
    const segmenter = await OrtNodeSegmenter.create(model);
    try {
      const golden = await checkGoldenTile(segmenter, model, { signal: options.signal });
      results.push({
        model: manifest.name,
        version: manifest.version,
        variant,
        runtime: segmenter.info.runtime,
        ...golden,
      });
    } finally {
      await segmenter.close();
    }
  }
  if (options.json) return void process.stdout.write(`${JSON.stringify(results)}\n`);
  for (const r of results) {
    console.log(
      `${r.model} ${r.version} ${r.variant}: hashes right, golden tile within ${r.maxAbs.toFixed(4)} of ${r.tolerance.maxAbs} (${r.runtime})`,
    );
  }
}
