import { resolve } from "node:path";
import { maskAddress } from "../local/read-mask.ts";
import type { SharedOptions } from "./cohort-snapshot.ts";
import type { CohortTotals } from "./totals.ts";

export interface CohortOptions extends SharedOptions {
  /** A manifest, a folder, a pattern or `s3://bucket/prefix`. */
  cohort: string;
  /** Directory for state and tables. */
  out: string;
  /** Directory of the jobs' results; default `jobs` in `out`. Cohorts that share it reuse each other's results. */
  store?: string;
  /** Scans in progress at a time; default 2. One runs the model while others are planned or write their outputs. */
  parallelSlides?: number;
  largestFirst?: boolean;
  /** Encoding of the manifest; default UTF-8. */
  encoding?: string;
  /** Accepts another model or other settings: segments every scan again and removes the previous results. */
  restart?: boolean;
  token?: string;
  signal?: AbortSignal;
  onEvent?: (event: CohortProgress) => void;
}

export type CohortProgress =
  | { type: "cohort"; rows: number; kind: string; done: number; failed: number; toDo: number }
  | { type: "slide"; id: string; state: "begun" | "uploading" }
  | {
      type: "slide";
      id: string;
      state: "done";
      found: boolean;
      seconds: number;
      windows: number;
      /** Read these before using the result. */
      warnings?: readonly string[];
      left: number;
    }
  /** Progress of one scan. */
  | { type: "windows"; id: string; windowsDone: number; windowsTotal: number }
  | { type: "slide"; id: string; state: "failed"; code: string; reason: string; left: number }
  | { type: "slide"; id: string; state: "changed" }
  | { type: "backend"; backend: string; reason: string };

export interface CohortResult extends CohortTotals {
  rows: number;
  out: string;
}

/** The options that `cohort.json` keeps: those that every scan shares, without the token. */
export function toSharedOptions(options: CohortOptions): SharedOptions {
  const {
    cohort: _cohort,
    out: _out,
    store: _store,
    parallelSlides: _slides,
    largestFirst: _largest,
    encoding: _encoding,
    restart: _restart,
    token: _token,
    signal: _signal,
    onEvent: _onEvent,
    ...shared
  } = options;
  const mask = shared.mask === undefined ? undefined : maskAddress(shared.mask);
  return { ...shared, ...(mask !== undefined && !mask.includes("://") && { mask: resolve(mask) }) };
}
