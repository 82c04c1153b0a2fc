import type { DurableObjectNamespace, R2Bucket } from "@cloudflare/workers-types";
import { HttpError } from "../../service/http-error.ts";
import type { SourceBindings } from "../sources/open-source-store.ts";

const MIB = 2 ** 20;

/** The Worker's bindings, unchecked: they come from a configuration file. */
export interface SegmentBindings extends SourceBindings {
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
  /** Timeout of a shard, after which it is retried; default 240. */
  SHARD_TIMEOUT_SECONDS?: string;
  /** Pause before each window of a shard, for requests that share the thread (the local stack); default 0. */
  PAUSE_MS?: string;
  /** The same as in the job service: heartbeats are three times as frequent. Default 300. */
  STALL_SECONDS?: string;
  /** Delay before the first retry of a task; default 5. */
  RETRY_SECONDS?: string;
}

/** The bindings, checked. */
export interface Settings {
  bucket: R2Bucket;
  /** Name of the package and of its folder in the bucket. */
  model: string;
  /** Default: that of the package. */
  variant: string | undefined;
  heapCapBytes: number;
  /** Maximum number of windows in one request. */
  maxWindows: number;
  maxBodyBytes: number;
}

/** @throws {HttpError} 503 with the name of the binding that is missing or wrong */
export function parseSettings(env: SegmentBindings): Settings {
  if (typeof env.MODELS?.get !== "function") throw wrong("MODELS", "an R2 bucket");
  if (!env.MODEL || !/^[\w][\w.-]*$/.test(env.MODEL)) throw wrong("MODEL", "the name of a model package");
  return {
    bucket: env.MODELS,
    model: env.MODEL,
    variant: env.VARIANT || undefined,
    // The runtime does not start below 16 MiB; an isolate has 128 MiB in total.
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
