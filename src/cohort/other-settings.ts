import { existsSync } from "node:fs";
import { OutputError } from "../local/errors.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import type { CohortDirectory } from "./cohort-directory.ts";
import type { CohortSnapshot, SharedOptions } from "./cohort-snapshot.ts";

/** Options that do not affect results: where and how fast the work runs. */
const IRRELEVANT_TO_RESULTS = new Set(["threads", "concurrency", "backends", "cohort", "model"]);

/** Flags by option name, where they differ. */
const FLAGS: Record<string, string> = {
  overlapRatio: "overlap",
  importance: "blend",
  maxMagnification: "max-magnification",
  polygons: "roi",
  tissueMask: "no-tissue-mask",
  segType: "seg-type",
  batchSize: "batch-size",
};

/**
 * Rejects settings other than those of the last run: every scan would run again and the existing results would be
 * left unused.
 * @throws {OutputError} that lists the differences
 */
export function assertSameSettings(
  directory: CohortDirectory,
  before: CohortSnapshot,
  now: SharedOptions,
  model: ModelPackage,
): void {
  if (!existsSync(directory.journal)) return;
  const { name, version } = model.manifest;
  const was = before.options as unknown as Record<string, unknown>;
  const is = now as unknown as Record<string, unknown>;
  const changes: string[] = [];
  if (before.model.hash !== model.hash || before.model.version !== version) {
    changes.push(`the model is ${name} ${version} and was ${before.model.name} ${before.model.version}`);
  }
  for (const option of [...new Set([...Object.keys(was), ...Object.keys(is)])].sort()) {
    if (IRRELEVANT_TO_RESULTS.has(option) || isSame(was[option], is[option], option)) continue;
    changes.push(
      `--${FLAGS[option] ?? option} is ${toText(is[option], option)} and was ${toText(was[option], option)}`,
    );
  }
  if (changes.length === 0) return;
  throw new OutputError(
    `${directory.path} holds a cohort with other settings: ${changes.join("; ")}. Repeat the previous settings, choose another --out, or --restart to segment every scan again`,
  );
}

/** Values of options that are left out. */
const DEFAULTS: Record<string, unknown> = { precision: "u8", tissueMask: true };

function isSame(a: unknown, b: unknown, option: string): boolean {
  const whole = (value: unknown) => JSON.stringify(value ?? DEFAULTS[option] ?? null);
  return whole(a) === whole(b);
}

function toText(value: unknown, option: string): string {
  if (value === undefined) return "the default";
  if (option === "polygons") return `a file of ${(value as unknown[]).length} polygons`;
  return Array.isArray(value) ? value.join(",") : String(value);
}
