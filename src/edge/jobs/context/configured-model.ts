import { loadPackage, type ModelPackage } from "../../../model-package/load-package.ts";
import { HttpError } from "../../../service/http-error.ts";
import { R2Store } from "../../../storage/r2-store.ts";
import type { Bindings } from "./bindings.ts";

/** The model that the edge function runs, as far as the job service needs it. */
export type ConfiguredModel = Pick<ModelPackage, "manifest" | "variantName" | "hash">;

/** Cache time, after which a new package is found without a deployment. */
const CACHE_MS = 60_000;
let kept: { model: ConfiguredModel; atMs: number } | undefined;

/** @throws {HttpError} 503 where the bucket, the variables or the package are wrong */
export async function getConfiguredModel(env: Bindings): Promise<ConfiguredModel> {
  if (kept && Date.now() - kept.atMs < CACHE_MS) return kept.model;
  if (typeof env.MODELS?.get !== "function" || !env.MODEL) {
    throw new HttpError(
      503,
      "not_configured",
      "the bindings MODELS and MODEL must name a bucket and a model package",
    );
  }
  const loaded = await loadPackage(new R2Store(env.MODELS), `${env.MODEL}/`, env.MODEL, {
    variant: env.VARIANT || undefined,
  });
  // Without its files, which have megabytes.
  const { manifest, variantName, hash } = loaded;
  kept = { model: { manifest, variantName, hash }, atMs: Date.now() };
  return kept.model;
}

/** @throws {HttpError} 422 when the request asks for another model or variant */
export function requireConfiguredModel(
  model: ConfiguredModel,
  asked: { model?: string; variant?: string },
): void {
  const { manifest, variantName } = model;
  const { model: name = manifest.name } = asked;
  if (name !== manifest.name || (asked.variant !== undefined && asked.variant !== variantName)) {
    const wanted = asked.variant === undefined ? name : `${name} ${asked.variant}`;
    throw new HttpError(
      422,
      "model_not_served",
      `this service runs ${manifest.name} ${variantName}, not ${wanted}: leave the model out, or use another service`,
    );
  }
}
