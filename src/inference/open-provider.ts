import type { ModelPackage } from "../model-package/load-package.ts";
import { InferenceError } from "./errors.ts";
import { OrtNodeSegmenter } from "./ort-node.ts";
import type { Segmenter } from "./segmenter.ts";

/** What a model can be run on by this machine, the fastest first. */
export const PROVIDERS = ["cuda", "webgpu", "cpu"] as const;
export type ProviderName = (typeof PROVIDERS)[number];

export interface ProviderOptions {
  /** Of the cpu: threads, each with a session of its own; default all the machine offers. */
  threads?: number;
  /** Of a GPU: which one; default 0. */
  deviceId?: number;
}

/**
 * Opens one session of a model on a provider. It is that provider or an error, never another one in its place:
 * `info.runtime` ends with its name.
 * @throws {InferenceError} when there is no such provider, or none here
 */
export async function openProvider(
  name: string,
  model: ModelPackage,
  options: ProviderOptions = {},
): Promise<Segmenter> {
  switch (name) {
    case "cpu":
      return OrtNodeSegmenter.create(model, { threads: options.threads });
    case "cuda":
    case "webgpu":
      throw new InferenceError(`the provider ${name} is not available here; choose cpu`);
    default:
      throw new InferenceError(`there is no provider "${name}"; choose of ${PROVIDERS.join(", ")}`);
  }
}
