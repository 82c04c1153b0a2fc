import { describeImage } from "../../image/describe.ts";
import type { ImageSource } from "../../image/image-source.ts";
import { openSource } from "../../local/open-source.ts";
import { loadModel } from "../../local/resolve-model.ts";
import { JobError } from "../../orchestrator/errors.ts";
import { matchImageToModel } from "../../orchestrator/plan/match-image.ts";
import type { AddCommand } from "../options/context.ts";
import { parseCount, parsePositive } from "../options/parsers.ts";
import { pagesAsOption, SERIES, type SourceFlags, TIME } from "../options/shared-options.ts";
import { magnified } from "../terminal/progress.ts";

interface InspectFlags extends SourceFlags {
  mpp?: number;
  json?: boolean;
}

export const addInspectCommand: AddCommand = (program, { signal }) => {
  program
    .command("inspect <source>")
    .description("show what an image holds: format, levels, pixel size, channels")
    .option("--model <name|dir>", "also show whether this model fits the image")
    .option("--mpp <n>", "micrometres per pixel of level 0", parsePositive)
    .option("--series <n>", SERIES, parseCount)
    .option("--time <n>", TIME, parseCount)
    .addOption(pagesAsOption())
    .option("--json", "as JSON")
    .action((source: string, flags: InspectFlags) => inspectImage(source, { ...flags, signal }));
};

/** Prints what an image holds and, where a model is named, how the two go together. */
async function inspectImage(uri: string, options: InspectFlags & { signal: AbortSignal }): Promise<void> {
  const { source, name, close } = await openSource(uri, options.mpp, options.signal, options);
  try {
    const model =
      options.model === undefined ? undefined : await matchModel(source, options.model, options.signal);
    const description = { ...describeImage(source), ...(model && { model }) };
    if (options.json) return void process.stdout.write(`${JSON.stringify({ name, ...description })}\n`);
    console.log(name);
    const { affine, details, warnings, model: _, ...rest } = description;
    const rows = affine?.slice(0, 3).map((row) => ({ x: row[0], y: row[1], z: row[2], origin: row[3] }));
    for (const [key, value] of Object.entries({ ...rest, affine: rows, ...details })) {
      if (Array.isArray(value) && value.some((v) => typeof v === "object")) {
        console.log(`  ${key}`);
        for (const [i, v] of value.entries()) console.log(`    ${i}  ${flat(v)}`);
      } else if (value !== undefined) console.log(`  ${key}  ${flat(value)}`);
    }
    for (const warning of warnings) console.log(`  warning  ${warning}`);
    if (!model) return;
    console.log(
      `  model  ${model.name}: ${"refused" in model ? model.refused : `level ${model.level}${magnified(model.magnification)}`}`,
    );
  } finally {
    await close();
  }
}

/** The level that the model would get, or why it refuses the image. */
async function matchModel(source: ImageSource, place: string, signal: AbortSignal | undefined) {
  const { manifest } = await loadModel(place, { signal });
  const { name } = manifest;
  try {
    const { level, magnification } = matchImageToModel(source, manifest, {});
    return { name, level, magnification };
  } catch (error) {
    if (error instanceof JobError) return { name, refused: error.message };
    throw error;
  }
}

function flat(value: unknown): string {
  if (Array.isArray(value)) return value.map(flat).join(" × ");
  if (value === null || value === undefined) return "not stated";
  if (typeof value === "object") {
    return Object.entries(value)
      .filter(([, v]) => v !== undefined)
      .map(([k, v]) => `${k} ${flat(v)}`)
      .join(", ");
  }
  // Sums and products of decimals print as they were meant.
  return typeof value === "number" ? String(Number(value.toPrecision(12))) : String(value);
}
