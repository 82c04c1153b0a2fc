import { inspect } from "../../local/inspect.ts";
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
    .action((source: string, flags: InspectFlags) => printImage(source, { ...flags, signal }));
};

/** Prints what an image holds and, where a model is named, how the two go together. */
async function printImage(uri: string, options: InspectFlags & { signal: AbortSignal }): Promise<void> {
  const { model: modelName, mpp, series, time, pagesAs, signal } = options;
  const report = await inspect({ source: uri, model: modelName, mpp, series, time, pagesAs, signal });
  if (options.json) return void process.stdout.write(`${JSON.stringify(report)}\n`);
  const { name, affine, details, warnings, model, ...rest } = report;
  console.log(name);
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
