import { InferenceError } from "../../src/inference/errors.ts";
import { openProvider, type ProviderName } from "../../src/inference/node/open-provider.ts";
import { loadModel } from "../../src/local/resolve-model.ts";

/**
 * Runs a provider in a process of its own, to test environments and memory limits:
 *
 *   node test/builders/probe-provider.ts <package> <provider> [windows]
 *
 * It prints {"runtime", "bytes"} or {"error", "outOfMemory"}; `bytes` is a checksum of the result for `windows` windows of
 * a ramp.
 */
const [directory, provider, windows] = process.argv.slice(2);
const model = await loadModel(directory!, { half: true });
try {
  const segmenter = await openProvider(provider as ProviderName, model);
  const [h, w] = model.manifest.window.size as [number, number];
  const shape = [Number(windows ?? 1), h, w, model.manifest.input.channels];
  const data = new Uint8Array(shape.reduce((p, n) => p * n)).map((_, i) => i * 7);
  const scaling = { low: 0, high: 255 };
  const out = await segmenter.segment({ data, shape }, { scaling, precision: "u8" });
  let bytes = 0;
  for (const p of out.data) bytes = (bytes * 31 + Math.round(255 * p)) % 1_000_003;
  await segmenter.close();
  console.log(JSON.stringify({ runtime: segmenter.info.runtime, bytes }));
} catch (error) {
  if (!(error instanceof InferenceError)) throw error;
  console.log(JSON.stringify({ error: error.message, outOfMemory: error.outOfMemory }));
}
