import { loadPackage, type ModelPackage } from "../model-package/load-package.ts";
import { JobError } from "../orchestrator/errors.ts";
import { HttpStore } from "../storage/http-store.ts";
import type { ObjectStore } from "../storage/object-store.ts";
import { withRetry } from "../storage/retry.ts";

/** A model package below a prefix of a store ("" or "name/"). */
export interface StoredModel {
  store: ObjectStore;
  prefix?: string;
}

/**
 * A model: a bundled one by name or a package by its directory (Node only), the address of a package (it ends before
 * `model.json`), a package in a store, or a loaded package.
 */
export type ModelInput = string | URL | StoredModel | ModelPackage;

export interface ModelChoices {
  variant?: string;
  /** Load the half-precision companion too. */
  half?: boolean;
  signal?: AbortSignal;
}

/** @param loadNamed loads a package by name or directory */
export async function loadModelInput(
  input: ModelInput,
  loadNamed: (name: string, choices: ModelChoices) => Promise<ModelPackage>,
  choices: ModelChoices,
): Promise<ModelPackage> {
  if (input instanceof URL || (typeof input === "string" && /^https?:\/\//i.test(input))) {
    const address = String(input).replace(/\/*$/, "/");
    return loadPackage(withRetry(new HttpStore(address)), "", address, choices);
  }
  if (typeof input === "string") return loadNamed(input, choices);
  if (typeof (input as Partial<ModelPackage>)?.hash === "string") {
    const loaded = input as ModelPackage;
    const { variant } = choices;
    if (variant === undefined || variant === loaded.variantName) return loaded;
    throw new JobError(
      `the model is loaded already, with its variant ${loaded.variantName}: leave out variant, or load it with ${variant}`,
    );
  }
  const { store, prefix = "" } = (input ?? {}) as Partial<StoredModel>;
  if (typeof store?.get === "function") return loadPackage(store, prefix, prefix || "in the store", choices);
  throw new JobError(
    "the model is none of these: a name, a directory, an address, { store, prefix } or a loaded package",
  );
}
