import type { DurableObjectNamespace, R2Bucket } from "@cloudflare/workers-types";
import { HttpError } from "../../service/http-error.ts";
import type { SourceBindings } from "../sources/open-source-store.ts";

const MIB = 2 ** 20;

/** The Worker's bindings as the platform gives them: set by hand in a configuration, so nothing is sure. */
export interface Bindings extends SourceBindings {
  MODELS?: R2Bucket;
  MODEL?: string;
  VARIANT?: string;
  HEAP_CAP_MIB?: string;
  MAX_WINDOWS?: string;
  MAX_BODY_MIB?: string;
  TOKEN?: string;
  /** For shards from the queue: plans and records, and the ledgers of the job service. */
  RESULTS?: R2Bucket;
  LEDGERS?: DurableObjectNamespace;
  /** After which a shard is given up and tried again; default 240. */
  SHARD_TIMEOUT_SECONDS?: string;
  /** As of the job service: signs of life come three times as often. Default 300. */
  STALL_SECONDS?: string;
  /** Before the first retry of a task; default 5. */
  RETRY_SECONDS?: string;
}

/** The bindings, checked. */
export interface Settings {
  bucket: R2Bucket;
  /** Name of the package, which is its folder in the bucket. */
  model: string;
  /** Default: the package's own. */
  variant: string | undefined;
  heapCapBytes: number;
  /** Windows in one request. */
  maxWindows: number;
  maxBodyBytes: number;
}

/** @throws {HttpError} 503 with the name of the binding that is missing or wrong */
export function parseSettings(env: Bindings): Settings {
  if (typeof env.MODELS?.get !== "function") throw wrong("MODELS", "an R2 bucket");
  if (!env.MODEL || !/^[\w][\w.-]*$/.test(env.MODEL)) throw wrong("MODEL", "the name of a model package");
  return {
    bucket: env.MODELS,
    model: env.MODEL,
    variant: env.VARIANT || undefined,
    // Below 16 MiB the runtime does not start; 128 MiB is what an isolate has for everything.
    heapCapBytes: number("HEAP_CAP_MIB", env.HEAP_CAP_MIB, 64, 16, 128) * MIB,
    maxWindows: number("MAX_WINDOWS", env.MAX_WINDOWS, 16, 1, 256),
    maxBodyBytes: number("MAX_BODY_MIB", env.MAX_BODY_MIB, 8, 1, 32) * MIB,
  };
}

function number(name: string, value: string | undefined, fallback: number, least: number, most: number) {
  if (value === undefined || value === "") return fallback;
  const parsed = Number(value);
  if (!Number.isInteger(parsed) || parsed < least || parsed > most) {
    throw wrong(name, `a whole number from ${least} to ${most}`);
  }
  return parsed;
}

function wrong(name: string, expected: string): HttpError {
  return new HttpError(503, "not_configured", `the Worker's binding ${name} must be ${expected}`);
}
