import * as z from "zod";
import type { PagesAs } from "../image/image-source.ts";
import { type OutputName, SEGMENTATION_TYPES, type SegmentationType } from "../image/output-targets.ts";
import { JobError } from "../orchestrator/errors.ts";
import { parseOutputs } from "../orchestrator/run/choose-outputs.ts";
import { checkSettings, type FullJobSettings, type JobSettings } from "../orchestrator/settings.ts";

/** Options that decide the result of a run, wherever it runs. */
export interface ResultOptions extends JobSettings {
  /** Micrometres per pixel of level 0; overrides the file. */
  mpp?: number;
  /** Number of the DICOM series, where the source holds several. */
  series?: number;
  /** Number of the volume, counted from 1, where a NIfTI file holds a series of them. */
  time?: number;
  /** Meaning of the pages of a TIFF stack, where the file does not state it. */
  pagesAs?: PagesAs;
  outputs?: readonly string[];
  /** Encoding of `labels.seg.dcm`; default binary. */
  segType?: SegmentationType;
  /** Threads of the model; default all cores. */
  threads?: number;
  /** Windows per run of the model. */
  batchSize?: number;
}

/** Threads compute other batches at the same time, so larger ones would only take memory. */
const BATCH_SIZE = 1;

const machineOptions = z.object({
  mpp: z.number().positive().optional(),
  threads: z.int().min(1).max(1024).optional(),
  batchSize: z.int().min(1).max(1024).default(BATCH_SIZE),
  segType: z.enum(SEGMENTATION_TYPES).optional(),
});

/** Checked options with their defaults. */
export interface RunOptions extends z.output<typeof machineOptions> {
  settings: FullJobSettings;
  /** Default: those of the source. */
  outputs: OutputName[] | undefined;
}

/** @throws {JobError} that names the option */
export function parseRunOptions(options: ResultOptions): RunOptions {
  const settings = parseJobSettings(options);
  const machine = machineOptions.safeParse(options);
  if (!machine.success) {
    const { path, message } = machine.error.issues[0]!;
    throw new JobError(`option ${path.join(".")}: ${message}`);
  }
  return { settings, ...machine.data, outputs: options.outputs && parseOutputs(options.outputs) };
}

/** Names of the settings among the options. */
export const SETTING_NAMES = [
  "level",
  "maxMagnification",
  "roi",
  "polygons",
  "overlapRatio",
  "policy",
  "importance",
  "precision",
  "tissueMask",
  "channels",
  "orientation",
  "overlay",
] as const satisfies readonly (keyof JobSettings)[];

/** Validates the job settings among the options. @throws {JobError} */
export function parseJobSettings(options: JobSettings): FullJobSettings {
  return checkSettings(Object.fromEntries(SETTING_NAMES.map((name) => [name, options[name]])) as JobSettings);
}

/** Refuses options that do not exist: a misspelt one would silently change nothing. @throws {JobError} */
export function checkOptionNames(options: object, known: readonly string[]): void {
  const unknown = Object.keys(options ?? {}).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new JobError(`there is no option "${unknown}": choose of ${known.join(", ")}`);
}
