import { OrtNodeSegmenter } from "../inference/ort-node.ts";
import { OrtWebSegmenter } from "../inference/ort-web.ts";
import { RemoteSegmenter } from "../inference/remote-segmenter.ts";
import { retrying } from "../inference/retrying.ts";
import type { Segmenter } from "../inference/segmenter.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { JobError } from "../orchestrator/errors.ts";

/** What runs the model: this machine's own runtime, WebAssembly as on edge functions, or an edge function. */
export type Backend = { kind: "cpu" } | { kind: "wasm" } | { kind: "edge"; url: string };

export const BACKENDS = "cpu, wasm or edge:<url>";

/** @throws {JobError} when `text` names no backend */
export function parseBackend(text: string): Backend {
  if (text === "cpu" || text === "wasm") return { kind: text };
  const url = /^edge:(https?:\/\/.+)$/.exec(text)?.[1];
  if (!url || !URL.canParse(url)) throw new JobError(`there is no backend "${text}": choose of ${BACKENDS}`);
  return { kind: "edge", url };
}

export interface BackendOptions {
  threads?: number;
  /** For edge functions. */
  token?: string;
  signal?: AbortSignal;
}

/** A backend that runs this very model: an edge function that holds another is refused. */
export async function openBackend(
  backend: Backend,
  model: ModelPackage,
  { threads, token, signal }: BackendOptions,
): Promise<Segmenter & { runMilliseconds?: number }> {
  switch (backend.kind) {
    case "cpu":
      return OrtNodeSegmenter.create(model, { threads });
    case "wasm":
      return OrtWebSegmenter.create(model);
    case "edge":
      if (!token) throw new JobError("an edge function asks for a token: set TILEWRIGHT_TOKEN");
      return retrying(await RemoteSegmenter.connect(backend.url, { token, modelHash: model.hash, signal }));
  }
}
