#!/usr/bin/env -S node --max-semi-space-size=8
import { Command, InvalidArgumentError, Option } from "commander";
import { OUTPUTS } from "../image/write/output-targets.ts";
import { DEFAULT_OUTPUTS } from "../orchestrator/job-outputs.ts";
import { VERSION } from "../orchestrator/version.ts";
import { BACKENDS } from "./backends.ts";
import { EXIT, explain } from "./exit-codes.ts";
import { inspectCommand } from "./inspect.ts";
import { planCommand } from "./plan.ts";
import { duration, progressPrinter } from "./progress.ts";
import { type SegmentOptions, segment } from "./segment.ts";
import { RUNTIMES, verifyModel } from "./verify-model.ts";

const controller = new AbortController();
process.once("SIGINT", () => {
  process.stderr.write("\nstopping; continue later with --resume (Ctrl-C again ends at once)\n");
  process.once("SIGINT", () => process.exit(EXIT.interrupted));
  controller.abort(new DOMException("stopped by the user", "AbortError"));
});
process.once("SIGTERM", () => {
  process.once("SIGTERM", () => process.exit(EXIT.interrupted));
  controller.abort(new DOMException("stopped by a signal", "AbortError"));
});

const program = new Command("tilewright")
  .description("Segment whole-slide images and volumes with overlapping windows.")
  .version(VERSION)
  .showHelpAfterError("(tilewright --help lists commands and options)")
  .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage));

/** Options that decide a job's plan: shared by `segment` and `plan`. */
function withPlanOptions(command: Command): Command {
  return command
    .option("--model <name|dir>", "bundled model or package directory", "nuclei")
    .option("--variant <name>", "variant of the model; default as the package says")
    .option("--roi <x,y,w,h>", "region in level-0 pixels", parseRoi)
    .option("--mpp <n>", "micrometres per pixel of level 0, where the file does not state it", positive)
    .option("--level <n>", "pyramid level; default the one nearest to the model's pixel size", whole)
    .option("--channels <i,j,k>", "source channels that feed the model", parseList)
    .option("--overlap <ratio>", "overlap of neighbouring windows, 0 to below 1", ratio)
    .addOption(new Option("--blend <kind>", "weights inside the overlap").choices(["gaussian", "constant"]))
    .addOption(new Option("--policy <name>", "where windows lie").choices(["monai", "nnunet"]))
    .addOption(
      new Option("--precision <p>", "precision of the probabilities that are merged")
        .choices(["u8", "f16", "f32"])
        .default("u8"),
    )
    .option("--mask <file>", "image whose pixels above 0 are segmented; spans the slide at any resolution")
    .option("--no-tissue-mask", "segment every window, also empty ones");
}

withPlanOptions(program.command("segment <source>").description("segment one image"))
  .requiredOption("--out <dir>", "directory for the results")
  .option(
    "--outputs <names>",
    `comma-separated, of ${OUTPUTS.join(", ")}; default ${DEFAULT_OUTPUTS.join(",")}`,
  )
  .option("--concurrency <n>", "threads of the model; default all cores", count)
  .option("--backend <name>", `what runs the model: ${BACKENDS} (token in TILEWRIGHT_TOKEN)`, "cpu")
  .option("--batch-size <n>", "windows per run of the model", count)
  .option("--resume", "continue an interrupted run")
  .option("--force", "replace a finished run or drop unfinished work")
  .option("--json", "progress as JSON lines on stderr, the run manifest on stdout")
  .action(async (source: string, flags) => {
    const manifest = await segment({
      ...planOptions(source, flags),
      out: flags.out,
      outputs: flags.outputs?.split(","),
      concurrency: flags.concurrency,
      backend: flags.backend,
      batchSize: flags.batchSize,
      resume: flags.resume,
      force: flags.force,
      signal: controller.signal,
      onProgress: progressPrinter(Boolean(flags.json)),
    });
    if (flags.json) return void process.stdout.write(`${JSON.stringify(manifest)}\n`);
    for (const { name, byteLength } of manifest.outputs)
      console.log(`${flags.out}/${name}  ${bytes(byteLength)}`);
    console.log(`${flags.out}/run.json`);
    for (const { name, count } of manifest.summary?.objects ?? []) console.log(`${count} × ${name}`);
    console.log(`${manifest.plan.windows} windows in ${duration(manifest.seconds.total!)}`);
  });

program
  .command("inspect <source>")
  .description("tell what an image holds: format, levels, pixel size, channels")
  .option("--mpp <n>", "micrometres per pixel of level 0", positive)
  .option("--json", "as JSON")
  .action((source: string, flags) => inspectCommand(source, { ...flags, signal: controller.signal }));

withPlanOptions(
  program.command("plan <source>").description("windows, tissue, memory and time, without segmenting"),
)
  .option("--concurrency <n>", "threads of the model; default all cores", count)
  .option("--json", "as JSON")
  .action((source: string, flags) =>
    planCommand(
      { ...planOptions(source, flags), concurrency: flags.concurrency, signal: controller.signal },
      flags.json,
    ),
  );

const model = program.command("model").description("model packages");
model
  .command("verify <dir>")
  .description("check hashes and run the golden tile, natively and in WebAssembly")
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

// biome-ignore lint/suspicious/noExplicitAny: commander's flags are untyped; each is parsed above
function planOptions(source: string, flags: any): Omit<SegmentOptions, "out"> & { out: string } {
  return {
    source,
    out: "",
    model: flags.model,
    variant: flags.variant,
    roi: flags.roi,
    mpp: flags.mpp,
    level: flags.level,
    channels: flags.channels,
    overlapRatio: flags.overlap,
    importance: flags.blend,
    policy: flags.policy,
    precision: flags.precision,
    mask: flags.mask,
    tissueMask: flags.tissueMask,
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

function whole(text: string): number {
  return number(text, (n) => Number.isInteger(n) && n >= 0, "a whole number from 0");
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
