import { type Command, Option } from "commander";
import type { JobOptions } from "../../client/upload.ts";
import { PAGES_AS, type PagesAs } from "../../image/image-source.ts";
import { OUTPUTS, SEGMENTATION_TYPES, type SegmentationType } from "../../image/output-targets.ts";
import { BACKENDS } from "../../local/backends.ts";
import type { SharedSegmentOptions } from "../../local/options.ts";
import { maskAddress } from "../../local/read-mask.ts";
import { OVERLAY_STYLES, type OverlayStyle } from "../../orchestrator/outputs/overlay.ts";
import type { JobSettings } from "../../orchestrator/settings.ts";
import { createUploadPrinter } from "../terminal/upload-progress.ts";
import type { CommandContext } from "./context.ts";
import {
  collect,
  parseAtLeastOne,
  parseCount,
  parsePositive,
  parseRatio,
  parseRegion,
  parseWhole,
  parseWholeList,
  type RegionFlag,
} from "./parsers.ts";

export const SERIES = "number of the DICOM series, where a directory or archive holds several";
export const TIME = "number of the volume, from 1, where a NIfTI file holds a series of them";

export function pagesAsOption(): Option {
  return new Option("--pages-as <what>", "what the pages of a TIFF are, where it does not say").choices(
    PAGES_AS,
  );
}

export function segEncodingOption(): Option {
  return new Option("--seg-encoding <type>", "how labels.seg.dcm holds labels; default binary").choices(
    SEGMENTATION_TYPES,
  );
}

export function threadsOption(): Option {
  return new Option("--threads <n>", "threads of the model; default all cores").argParser(parseCount);
}

/** Flags that decide a job's plan wherever it runs. */
export interface SettingFlags {
  variant?: string;
  roi?: RegionFlag;
  mpp?: number;
  level?: number;
  maxMagnification?: number;
  orientation?: string;
  channels?: number[];
  overlap?: number;
  importance?: JobSettings["importance"];
  windowPolicy?: JobSettings["policy"];
  precision: JobSettings["precision"];
  overlay?: OverlayStyle;
  tissueMask: boolean;
}

/** Flags that say which image of a source is meant, and which model segments it. */
export interface SourceFlags {
  model?: string;
  series?: number;
  time?: number;
  pagesAs?: PagesAs;
}

export interface PlanFlags extends SettingFlags, SourceFlags {
  model: string;
  mask?: string;
}

/** Flags of inference on this machine. */
export interface RunFlags {
  outputs?: string;
  threads?: number;
  backend?: string[];
  batchSize?: number;
}

export interface ServiceFlags {
  server: string;
  token?: string;
}

/** Flags of a job at a service, and of its results. */
export interface JobFlags extends SettingFlags, SourceFlags, ServiceFlags {
  outputs?: string;
  segEncoding?: SegmentationType;
  watch?: boolean;
  out?: string;
  force?: boolean;
  json?: boolean;
}

/** Options that decide a job's plan on this machine: of `segment`, `plan` and `cohort run`. */
export function withPlanOptions(command: Command): Command {
  command
    .option("--model <name|dir>", "bundled model or package directory", "nuclei")
    .option("--series <n>", SERIES, parseCount)
    .option("--time <n>", TIME, parseCount)
    .addOption(pagesAsOption());
  return withSettingOptions(command).option(
    "--mask <file>",
    "what to segment: an image of the whole slide at any resolution, with pixels above 0 there, or polygons from QuPath (.geojson)",
    maskAddress,
  );
}

/** Options that decide a job's plan wherever it runs. */
function withSettingOptions(command: Command): Command {
  return command
    .option("--variant <name>", "variant of the model; default as the package says")
    .option(
      "--roi <region>",
      "x,y,width,height in level-0 pixels, or polygons from QuPath (.geojson)",
      parseRegion,
    )
    .option("--mpp <n>", "micrometres per pixel of level 0, where the file does not state it", parsePositive)
    .option("--level <n>", "pyramid level; default the one nearest to the model's pixel size", parseWhole)
    .option(
      "--max-magnification <n>",
      "largest ratio of the image's to the model's pixel size; default as the package says, or 2.5",
      parseAtLeastOne,
    )
    .option(
      "--orientation <code>",
      "where x, y and z of a volume lead in the patient, for instance LPS, where the file does not state it",
    )
    .option("--channels <i,j,k>", "source channels that feed the model", parseWholeList)
    .option("--overlap <ratio>", "overlap of neighbouring windows, 0 to below 1", parseRatio)
    .addOption(
      new Option("--importance <kind>", "weights inside the overlap").choices(["gaussian", "constant"]),
    )
    .addOption(new Option("--window-policy <name>", "where windows lie").choices(["monai", "nnunet"]))
    .addOption(
      new Option("--precision <p>", "precision of the probabilities that are merged")
        .choices(["u8", "f16", "f32"])
        .default("u8"),
    )
    .addOption(
      new Option("--overlay <style>", "how pictures show objects: their outlines, or filled too").choices(
        OVERLAY_STYLES,
      ),
    )
    .option("--no-tissue-mask", "segment every window, also empty ones");
}

/** Options of inference on this machine: of `segment` and `cohort run`. */
export function withRunOptions(command: Command): Command {
  return command
    .option(
      "--outputs <names>",
      `comma-separated, of ${OUTPUTS.join(", ")}; default what suits the source: of a 2-D image all but instances.* and labels.seg.dcm, of a volume labels.ome.zarr, measurements.csv and labels in the format it came in`,
    )
    .addOption(threadsOption())
    .option(
      "--backend <name>",
      `what runs the model: ${BACKENDS} (token in TILEWRIGHT_TOKEN); repeat it to use several together; default cpu`,
      collect,
    )
    .option("--batch-size <n>", "windows per run of the model", parseCount);
}

/** Options that say where a job service is. */
export function withServiceOptions(command: Command): Command {
  return command
    .requiredOption("--server <url>", "address of the job service")
    .option("--token <token>", "its bearer token; default the environment's TILEWRIGHT_TOKEN");
}

/** Options of a job at a service, and of its results. */
export function withJobOptions(command: Command): Command {
  return withSettingOptions(withServiceOptions(command))
    .option("--model <name>", "model package; default the one the service runs")
    .option("--outputs <names>", `comma-separated, of ${OUTPUTS.join(", ")}; default what suits the source`)
    .addOption(segEncodingOption())
    .option("--series <n>", SERIES, parseCount)
    .option("--time <n>", TIME, parseCount)
    .addOption(pagesAsOption())
    .option("--watch", "follow the job until it ends")
    .option("--out <dir>", "follow the job and download its results into this directory")
    .option("--force", "replace a finished run in --out")
    .option("--json", "progress as JSON lines on stderr, the job on stdout");
}

function toSettings(flags: SettingFlags): JobSettings {
  return {
    ...flags.roi,
    level: flags.level,
    maxMagnification: flags.maxMagnification,
    channels: flags.channels,
    overlapRatio: flags.overlap,
    importance: flags.importance,
    policy: flags.windowPolicy,
    precision: flags.precision,
    tissueMask: flags.tissueMask,
    orientation: flags.orientation,
    overlay: flags.overlay,
  };
}

/** Planning flags as options of `segment()`, but for `source` and `out`. */
export function toPlanOptions(flags: PlanFlags): SharedSegmentOptions {
  const { model, variant, mpp, series, time, pagesAs, mask } = flags;
  return { model, variant, mpp, series, time, pagesAs, mask, ...toSettings(flags) };
}

export function toJobOptions(flags: JobFlags, { signal }: CommandContext): JobOptions {
  const { model, variant, mpp, series, time, pagesAs, watch, out, force } = flags;
  return {
    ...{ model, variant, mpp, series, time, pagesAs, watch, out, force, signal },
    settings: toSettings(flags),
    server: flags.server,
    token: resolveToken(flags),
    outputs: flags.outputs?.split(","),
    segType: flags.segEncoding,
    onEvent: createUploadPrinter(Boolean(flags.json)),
  };
}

/** Other users of this machine may see a command's arguments, but not its environment. */
export function resolveToken({ server, token: given }: ServiceFlags): string | undefined {
  const token = given ?? (process.env.TILEWRIGHT_TOKEN || undefined);
  if (token && /^http:\/\/(?!(localhost|127\.[\d.]+|\[::1\])(:|\/|$))/i.test(server)) {
    process.stderr.write("note: over http:// others on the network can read the token and the scan\n");
  }
  return token;
}
