import { Option } from "commander";
import { checkGoldenTile } from "../../inference/golden-tile.ts";
import { DeviceSegmenter } from "../../inference/node/device-segmenter.ts";
import { isNativeRuntimeInstalled } from "../../inference/node/native-runtime.ts";
import { openWasm } from "../../inference/node/open-wasm.ts";
import { OrtNodeSegmenter } from "../../inference/node/ort-node.ts";
import type { Segmenter } from "../../inference/segmenter.ts";
import { OrtWebSegmenter } from "../../inference/wasm/ort-web.ts";
import { loadModel } from "../../local/resolve-model.ts";
import type { ModelPackage } from "../../model-package/load-package.ts";
import type { AddCommand } from "../options/context.ts";

/**
 * Runtimes that a package must pass on: onnxruntime-node, WebAssembly as on edge functions (the engine, where it can run the
 * network), and onnxruntime-web.
 */
export const RUNTIMES = {
  cpu: (model) => OrtNodeSegmenter.create(model, { threads: 1 }),
  wasm: (model) => openWasm(model, { threads: 1 }),
  "onnxruntime-web": (model) => OrtWebSegmenter.create(model),
} satisfies Record<string, (model: ModelPackage) => Promise<Segmenter>>;

type RuntimeName = keyof typeof RUNTIMES;

interface VerifyOptions {
  /** One variant; default all. */
  variant?: string;
  /** One runtime; default all that are installed. */
  runtime?: RuntimeName;
  json?: boolean;
  signal?: AbortSignal;
}

export const addModelCommands: AddCommand = (program, { signal }) => {
  program
    .command("model")
    .description("model packages")
    .command("verify <dir>")
    .description("check hashes and run the golden tile, natively, in WebAssembly and in half precision")
    .option("--variant <name>", "only this variant; default all")
    .addOption(
      new Option("--runtime <name>", "only this runtime; default all that are installed").choices(
        Object.keys(RUNTIMES),
      ),
    )
    .option("--json", "as JSON")
    .action((name: string, flags: VerifyOptions) => verifyModel(name, { ...flags, signal }));
};

/**
 * Hashes and golden tile of each variant on each runtime; throws at the first that fails. A companion in half precision is
 * run on the CPU, which widens it operator by operator: that proves the file, and a device proves itself when it opens it.
 */
async function verifyModel(name: string, options: VerifyOptions): Promise<void> {
  const { signal } = options;
  const { manifest } = await loadModel(name, { variant: options.variant, signal });
  const variants = options.variant ? [options.variant] : Object.keys(manifest.variants);
  const runtimes = options.runtime
    ? [options.runtime]
    : (Object.keys(RUNTIMES) as RuntimeName[]).filter((name) => name !== "cpu" || isNativeRuntimeInstalled());
  const results = [];
  for (const variant of variants) {
    const model = await loadModel(name, { variant, half: true, signal });
    const makers = runtimes.map((runtime) => () => RUNTIMES[runtime](model) as Promise<Segmenter>);
    if (model.half && runtimes.includes("cpu")) {
      makers.push(() => DeviceSegmenter.create(model, { provider: "cpu", half: true }));
    }
    for (const make of makers) {
      const segmenter = await make();
      try {
        const golden = await checkGoldenTile(segmenter, model, { signal });
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
  }
  if (options.json) return void process.stdout.write(`${JSON.stringify(results)}\n`);
  for (const r of results) {
    console.log(
      `${r.model} ${r.version} ${r.variant}: hashes right, golden tile within ${r.maxAbs.toFixed(4)} of ${r.tolerance.maxAbs} (${r.runtime})`,
    );
  }
}
