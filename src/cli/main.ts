#!/usr/bin/env -S MALLOC_MMAP_THRESHOLD_=1048576 node --max-semi-space-size=8
// First, before anything that an older Node may lack.
import "./check-node.ts";
import { Command, InvalidArgumentError, Option } from "commander";
import type { PullFrom } from "../../gpu-runner/settings.ts";
import { type JobOptions, startJob, type UploadResult, upload } from "../client/upload.ts";
import { EXIT } from "../exit/exit-status.ts";
import { explain } from "../exit/explain-error.ts";
import { PAGES_AS } from "../image/image-source.ts";
import { OUTPUTS, SEGMENTATION_TYPES } from "../image/output-targets.ts";
import { PROVIDERS } from "../inference/node/open-provider.ts";
import { BACKENDS } from "../local/backends.ts";
import { duration } from "../local/format.ts";
import { maskAddress } from "../local/read-mask.ts";
import { type SegmentOptions, segment } from "../local/segment.ts";
import { JobError } from "../orchestrator/errors.ts";
import type { RunManifest } from "../orchestrator/manifest/run-manifest.ts";
import { OVERLAY_STYLES } from "../orchestrator/outputs/overlay.ts";
import { VERSION } from "../orchestrator/version.ts";
import { addCohortCommands } from "./commands/cohort.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { cancelJob, downloadJob, removeJob, type ServiceAccess, showJob } from "./commands/jobs.ts";
import { planCommand } from "./commands/plan.ts";
import { namesCohort, planCohort, printForecast } from "./commands/plan-cohort.ts";
import { runner } from "./commands/runner.ts";
import { up } from "./commands/up.ts";
import { RUNTIMES, verifyModel } from "./commands/verify-model.ts";
import { progressPrinter } from "./terminal/progress.ts";
import { uploadPrinter } from "./terminal/upload-progress.ts";

const controller = new AbortController();
let toContinue = "continue later with --resume";
// The second of a kind finds no listener and ends the process at once, as the system does it: process.exit() would abort
// in a thread that is in the middle of a run.
process.once("SIGINT", () => {
  process.stderr.write(`\nstopping; ${toContinue} (Ctrl-C again ends at once)\n`);
  controller.abort(new DOMException("stopped by the user", "AbortError"));
});
process.once("SIGTERM", () => {
  controller.abort(new DOMException("stopped by a signal", "AbortError"));
});

// Who reads along may leave: then there is nobody to tell, and the work goes on. A pipe that is closed ends it, as everywhere.
process.stderr.on("error", () => undefined);
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") controller.abort(new DOMException("nobody reads the output", "AbortError"));
});

const program = new Command("tilewright")
  .description("Segment whole-slide images and volumes with overlapping windows.")
  .version(VERSION)
  .showHelpAfterError("(tilewright --help lists commands and options)")
  .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage));

const SERIES = "number of the DICOM series, where a directory or archive holds several";
const TIME = "number of the volume, from 1, where a NIfTI file holds a series of them";

function pagesAsOption(): Option {
  return new Option("--pages-as <what>", "what the pages of a TIFF are, where it does not say").choices(
    PAGES_AS,
  );
}

/** Options that decide a job's plan on this machine: shared by `segment` and `plan`. */
function withPlanOptions(command: Command): Command {
  command
    .option("--model <name|dir>", "bundled model or package directory", "nuclei")
    .option("--series <n>", SERIES, count)
    .option("--time <n>", TIME, count)
    .addOption(pagesAsOption());
  return withSettingOptions(command).option(
    "--mask <file>",
    "what is segmented: an image whose pixels are above 0 there and that spans the slide at any resolution, or polygons as QuPath exports them (.geojson)",
    maskAddress,
  );
}

/** Options that decide a job's plan wherever it runs. */
function withSettingOptions(command: Command): Command {
  return command
    .option("--variant <name>", "variant of the model; default as the package says")
    .option("--roi <x,y,w,h>", "region in level-0 pixels", parseRoi)
    .option("--mpp <n>", "micrometres per pixel of level 0, where the file does not state it", positive)
    .option("--level <n>", "pyramid level; default the one nearest to the model's pixel size", whole)
    .option(
      "--max-magnification <n>",
      "how many times coarser than the model's pixels may be; default as the package says, or 2.5",
      atLeastOne,
    )
    .option(
      "--orientation <code>",
      "where x, y and z of a volume lead in the patient, for instance LPS, where the file does not state it",
    )
    .option("--channels <i,j,k>", "source channels that feed the model", parseList)
    .option("--overlap <ratio>", "overlap of neighbouring windows, 0 to below 1", ratio)
    .addOption(new Option("--blend <kind>", "weights inside the overlap").choices(["gaussian", "constant"]))
    .addOption(new Option("--policy <name>", "where windows lie").choices(["monai", "nnunet"]))
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

/** Options of whatever runs the model here. */
function withRunOptions(command: Command): Command {
  return command
    .option(
      "--outputs <names>",
      `comma-separated, of ${OUTPUTS.join(", ")}; default what suits the source: of a 2-D image all but instances.* and labels.seg.dcm, of a volume labels.ome.zarr, measurements.csv and labels in the format it came in`,
    )
    .option("--concurrency <n>", "threads of the model; default all cores", count)
    .option(
      "--backend <name>",
      `what runs the model: ${BACKENDS} (token in TILEWRIGHT_TOKEN); give it more than once to use all of them together; default cpu`,
      (name: string, before: string[] = []) => [...before, name],
    )
    .option("--batch-size <n>", "windows per run of the model", count);
}

withRunOptions(withPlanOptions(program.command("segment <source>").description("segment one image")))
  .requiredOption("--out <dir>", "directory for the results")
  .addOption(segTypeOption())
  .option(
    "--like-service",
    "compute as a service's edge functions do, to the same bytes: slower than the default",
  )
  .option("--resume", "continue an interrupted run")
  .option("--force", "replace a finished run or drop unfinished work")
  .option("--json", "progress as JSON lines on stderr, the run manifest on stdout")
  .action(async (source: string, flags) => {
    const manifest = await segment({
      ...planOptions(source, flags),
      out: flags.out,
      outputs: flags.outputs?.split(","),
      segType: flags.segType,
      concurrency: flags.concurrency,
      backends: flags.backend,
      batchSize: flags.batchSize,
      likeService: flags.likeService,
      resume: flags.resume,
      force: flags.force,
      signal: controller.signal,
      onProgress: progressPrinter(Boolean(flags.json)),
    });
    if (flags.json) return void process.stdout.write(`${JSON.stringify(manifest)}\n`);
    for (const { name, byteLength } of manifest.outputs)
      console.log(`${flags.out}/${name}  ${bytes(byteLength)}`);
    console.log(`${flags.out}/run.json`);
    printSummary(manifest.summary);
    console.log(`${manifest.plan.windows} windows in ${duration(manifest.seconds.total!)}`);
  });

program
  .command("inspect <source>")
  .description("tell what an image holds: format, levels, pixel size, channels")
  .option("--model <name|dir>", "tell also how it goes together with this model")
  .option("--mpp <n>", "micrometres per pixel of level 0", positive)
  .option("--series <n>", SERIES, count)
  .option("--time <n>", TIME, count)
  .addOption(pagesAsOption())
  .option("--json", "as JSON")
  .action((source: string, flags) => inspectCommand(source, { ...flags, signal: controller.signal }));

withPlanOptions(
  program
    .command("plan <source>")
    .description(
      "windows, tissue, memory, time and cost, without segmenting: of one image, or of what cohort run takes",
    ),
)
  .option("--concurrency <n>", "threads of the model; default all cores", count)
  .option("--encoding <name>", "encoding of a manifest, for instance latin1; default UTF-8")
  .option("--sample <n>", "of many: scans that are opened for the forecast; default 20", count)
  .option("--json", "as JSON")
  .action(async (source: string, flags) => {
    const options = {
      ...planOptions(source, flags),
      concurrency: flags.concurrency,
      signal: controller.signal,
    };
    if (!(await namesCohort(source, controller.signal))) return planCommand(options, flags.json);
    const forecast = await planCohort({ ...options, sample: flags.sample, encoding: flags.encoding });
    if (flags.json) return void process.stdout.write(`${JSON.stringify(forecast)}\n`);
    printForecast(source, forecast);
  });

addCohortCommands(program, {
  withPlanOptions,
  withRunOptions,
  planOptions,
  count,
  positive,
  tokenOf,
  signal: controller.signal,
  toContinue: (how) => {
    toContinue = how;
  },
});

/** Options of a job at a service, and of what becomes of it. */
function withJobOptions(command: Command): Command {
  return withSettingOptions(withService(command))
    .option("--model <name>", "model package; default the one the service runs")
    .option("--outputs <names>", `comma-separated, of ${OUTPUTS.join(", ")}; default what suits the source`)
    .addOption(segTypeOption())
    .option("--series <n>", SERIES, count)
    .option("--time <n>", TIME, count)
    .addOption(pagesAsOption())
    .option("--watch", "follow the job until it ends")
    .option("--out <dir>", "follow the job and download its results into this directory")
    .option("--force", "replace a finished run in --out")
    .option("--json", "progress as JSON lines on stderr, the job on stdout");
}

// biome-ignore lint/suspicious/noExplicitAny: commander's flags are untyped; each is parsed where it is declared
function jobOptions(source: string, flags: any): JobOptions {
  const { model, variant, mpp, series, time, pagesAs, ...settings } = planOptions(source, flags);
  return {
    ...{ model, variant, series, time, pagesAs, mpp, settings },
    to: flags.to,
    token: tokenOf(flags),
    outputs: flags.outputs?.split(","),
    segType: flags.segType,
    watch: flags.watch,
    out: flags.out,
    force: flags.force,
    signal: controller.signal,
    onEvent: uploadPrinter(Boolean(flags.json)),
  };
}

function printJob({ job, status, manifest }: UploadResult, flags: { json?: boolean; out: string }): void {
  if (flags.json) return void process.stdout.write(`${JSON.stringify(status ?? { id: job })}\n`);
  if (manifest !== undefined) printResults(flags.out, manifest);
  else console.log(job);
}

withJobOptions(
  program
    .command("upload <scan>")
    .description(
      "send a file, an OME-Zarr or a directory of DICOM files to a job service, which segments it",
    ),
)
  .option("--concurrency <n>", "parts or files on their way at a time", count)
  .action(async (file: string, flags) => {
    toContinue = "continue later with the same command";
    const { concurrency } = flags;
    printJob(await upload({ ...jobOptions(file, flags), file, concurrency }), flags);
  });

program
  .command("up")
  .description("run the whole service on this machine: uploads, queues, edge function, results")
  .option("--port <n>", "port to listen on; 0 takes any free one", port, 8787)
  .option("--host <address>", "address to listen on; others than loopback let other machines in", "127.0.0.1")
  .option("--state <dir>", "where everything is kept", ".tilewright-up")
  .option("--model <name|dir>", "bundled model or package directory", "nuclei")
  .option("--variant <name>", "variant of the model; default the one made for whoever takes the shards")
  .addOption(
    new Option("--shards <taker>", "who segments: the edge function here, or runners that pull shards")
      .choices(["edge", "pull"])
      .default("edge"),
  )
  .action((flags) => {
    toContinue = "start again with the same --state to go on";
    return up({ ...flags, signal: controller.signal });
  });

program
  .command("runner")
  .description("run the service that segments windows for others: on a GPU, or on the cores of this machine")
  .option("--provider <names>", `what runs the model: ${PROVIDERS.join(", ")}, or several in order`, "cpu")
  .option("--allow-fallback", "take another provider where none of those runs the model")
  .option("--allow-cpu-operators", "let the CPU run operators that the GPU has no kernel for")
  .option("--devices <i,j,k>", "GPUs, by their numbers; default the first", parseList)
  .option("--host <address>", "address to listen on; others than loopback let other machines in", "127.0.0.1")
  .option("--port <n>", "port to listen on; 0 takes any free one", port, 8788)
  .option("--token <token>", "bearer token to ask for; default the environment's TILEWRIGHT_TOKEN")
  .option("--model <name|dir>", "bundled model or package directory", "nuclei")
  .option("--variant <name>", "variant of the model; default as the package says")
  .option("--sessions <n>", "copies of the model that compute at a time; default a core or a GPU each", count)
  .option("--max-batch <n>", "windows in one run of a GPU; default 16", count)
  .option("--batch-latency-ms <n>", "how long a window waits for others to be run with", whole, 5)
  .option("--max-body-mib <n>", "the largest request that is taken", count, 16)
  .option("--drain-seconds <n>", "when stopped, how long what is under way may take", whole, 30)
  .option("--pull <url>", "take shards from this queue too (token in TILEWRIGHT_QUEUE_TOKEN)", address)
  .option("--service <url>", "the job service they belong to (token in TILEWRIGHT_SERVICE_TOKEN)", address)
  .action((flags) => {
    toContinue = "what is under way is answered first";
    return runner({
      ...flags,
      pull: pullFrom(flags),
      providers: flags.provider.split(","),
      token: flags.token ?? (process.env.TILEWRIGHT_TOKEN || undefined),
      signal: controller.signal,
    });
  });

/** Each token may be one of its own, or all the same: `tilewright up` has one for everything. */
function pullFrom({ pull, service }: { pull?: string; service?: string }): PullFrom | undefined {
  if (pull === undefined && service === undefined) return undefined;
  if (pull === undefined || service === undefined) {
    throw new JobError("--pull and --service go together: shards come from the one and go to the other");
  }
  const { TILEWRIGHT_TOKEN, TILEWRIGHT_SERVICE_TOKEN, TILEWRIGHT_QUEUE_TOKEN } = process.env;
  const serviceToken = TILEWRIGHT_SERVICE_TOKEN || TILEWRIGHT_TOKEN;
  const queueToken = TILEWRIGHT_QUEUE_TOKEN || TILEWRIGHT_TOKEN;
  if (!serviceToken || !queueToken) {
    throw new JobError("pulling needs tokens: set TILEWRIGHT_QUEUE_TOKEN and TILEWRIGHT_SERVICE_TOKEN");
  }
  return { queue: pull, queueToken, service, serviceToken };
}

const jobs = program.command("jobs").description("jobs of a job service");
withJobOptions(
  jobs
    .command("start <address>")
    .description(
      "segment what the service reads where it lies: r2://, s3:// or https://, also a prefix of objects",
    ),
).action(async (address: string, flags) => {
  toContinue = "continue later with the same command";
  printJob(await startJob(address, jobOptions(address, flags)), flags);
});
withService(jobs.command("show <job>").description("how far a job is"))
  .option("--json", "as JSON")
  .action((job: string, flags) => showJob(job, serviceOf(flags), Boolean(flags.json)));
withService(jobs.command("cancel <job>").description("end a job")).action((job: string, flags) =>
  cancelJob(job, serviceOf(flags)),
);
withService(
  jobs
    .command("remove <job>")
    .description(
      "remove all that the service keeps of a job that has ended: results and record; the scan stays (needs the scope admin)",
    ),
).action((job: string, flags) => removeJob(job, serviceOf(flags)));
withService(jobs.command("download <job>").description("fetch the results of a job, when it is done"))
  .requiredOption("--out <dir>", "directory for the results")
  .option("--force", "replace a finished run there")
  .option("--json", "progress as JSON lines on stderr, the run manifest on stdout")
  .action(async (job: string, flags) => {
    toContinue = "continue later with the same command";
    const onEvent = uploadPrinter(Boolean(flags.json));
    const manifest = await downloadJob(job, serviceOf(flags), {
      out: flags.out,
      force: flags.force,
      onEvent,
    });
    if (flags.json) return void process.stdout.write(`${JSON.stringify(JSON.parse(manifest))}\n`);
    printResults(flags.out, manifest);
  });

const model = program.command("model").description("model packages");
model
  .command("verify <dir>")
  .description("check hashes and run the golden tile, natively, in WebAssembly and in half precision")
  .option("--variant <name>", "only this variant; default all")
  .addOption(new Option("--runtime <name>", "only this runtime; default all").choices(Object.keys(RUNTIMES)))
  .option("--json", "as JSON")
  .action((name: string, flags) => verifyModel(name, { ...flags, signal: controller.signal }));

try {
  await program.parseAsync();
} catch (error) {
  const { message, exitCode } = explain(error);
  process.stderr.write(`tilewright: ${message}\n`);
  if (process.env.TILEWRIGHT_DEBUG) console.error(error);
  process.exitCode = exitCode;
}

/** Options that say where a job service is. */
function withService(command: Command): Command {
  return command
    .requiredOption("--to <url>", "address of the job service")
    .option("--token <token>", "its bearer token; default the environment's TILEWRIGHT_TOKEN");
}

/** Other users of this machine may see a command's arguments, but not its environment. */
function tokenOf(flags: { to: string; token?: string }): string | undefined {
  const token = flags.token ?? (process.env.TILEWRIGHT_TOKEN || undefined);
  if (token && /^http:\/\/(?!(localhost|127\.[\d.]+|\[::1\])(:|\/|$))/i.test(flags.to)) {
    process.stderr.write("note: over http:// others on the network can read the token and the scan\n");
  }
  return token;
}

function serviceOf(flags: { to: string; token?: string }): ServiceAccess {
  return { to: flags.to, token: tokenOf(flags), signal: controller.signal };
}

function printResults(out: string, manifest: string): void {
  const { outputs = [], summary } = JSON.parse(manifest) as Partial<RunManifest>;
  for (const { name, byteLength } of outputs) console.log(`${out}/${name}  ${bytes(byteLength)}`);
  console.log(`${out}/run.json`);
  printSummary(summary);
}

function segTypeOption(): Option {
  return new Option("--seg-type <type>", "how labels.seg.dcm holds labels; default binary").choices(
    SEGMENTATION_TYPES,
  );
}

function printSummary(summary: RunManifest["summary"] | undefined): void {
  if (summary === undefined) return;
  if ("objects" in summary) for (const { name, count } of summary.objects) console.log(`${count} × ${name}`);
  else
    for (const { name, voxels, volumeMl } of summary.structures)
      console.log(
        `${name}  ${volumeMl === undefined ? `${voxels} voxels` : `${volumeMl.toPrecision(4)} ml`}`,
      );
}

// biome-ignore lint/suspicious/noExplicitAny: commander's flags are untyped; each is parsed above
function planOptions(source: string, flags: any): Omit<SegmentOptions, "out"> & { out: string } {
  return {
    source,
    out: "",
    model: flags.model,
    variant: flags.variant,
    roi: flags.roi,
    mpp: flags.mpp,
    series: flags.series,
    time: flags.time,
    pagesAs: flags.pagesAs,
    level: flags.level,
    maxMagnification: flags.maxMagnification,
    channels: flags.channels,
    overlapRatio: flags.overlap,
    importance: flags.blend,
    policy: flags.policy,
    precision: flags.precision,
    mask: flags.mask,
    tissueMask: flags.tissueMask,
    orientation: flags.orientation,
    overlay: flags.overlay,
  };
}

function number(text: string, fits: (n: number) => boolean, what: string): number {
  const n = Number(text);
  if (text.trim() === "" || !Number.isFinite(n) || !fits(n))
    throw new InvalidArgumentError(`it must be ${what}.`);
  return n;
}

function positive(text: string): number {
  return number(text, (n) => n > 0, "a number above 0");
}

function atLeastOne(text: string): number {
  return number(text, (n) => n >= 1, "a number from 1");
}

function whole(text: string): number {
  return number(text, (n) => Number.isInteger(n) && n >= 0, "a whole number from 0");
}

function address(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text;
  throw new InvalidArgumentError("it must be an address that begins with https:// or http://.");
}

function port(text: string): number {
  return number(text, (n) => Number.isInteger(n) && n >= 0 && n <= 65_535, "a port");
}

function count(text: string): number {
  return number(text, (n) => Number.isInteger(n) && n >= 1 && n <= 1024, "a whole number from 1");
}

function ratio(text: string): number {
  return number(text, (n) => n >= 0 && n < 1, "at least 0 and below 1");
}

function parseList(text: string): number[] {
  return text.split(",").map(whole);
}

function parseRoi(text: string): [number, number, number, number] {
  const parts = text.split(",").map(Number);
  if (parts.length !== 4 || !parts.every(Number.isFinite)) {
    throw new InvalidArgumentError("it must be x,y,width,height in level-0 pixels.");
  }
  return parts as [number, number, number, number];
}

function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(1)} kB`;
  return `${(n / 1e6).toFixed(1)} MB`;
}
