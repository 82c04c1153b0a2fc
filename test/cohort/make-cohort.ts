import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";

/** Small slides s0.tiff, s1.tiff … of different widths, and a model that runs on them. */
export function makeSlides(directory: string, count: number, options: { width?: number; mpp?: number } = {}) {
  const { width = 260, mpp } = options;
  const slides = Array.from({ length: count }, (_, i) => {
    const path = join(directory, `s${i}.tiff`);
    writeMadeSlide(path, { width: width + 20 * i, height: 200, mpp });
    return path;
  });
  return { slides, model: writePointwisePackage(join(directory, "pointwise")) };
}

export function writeManifest(file: string, lines: readonly string[]): string {
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}

export function readTable(out: string): Record<string, string>[] {
  return parse(readFileSync(join(out, "cohort.csv")), { columns: true });
}

/** The table without values that differ between runs. */
export function lastingTable(out: string): Record<string, string>[] {
  return readTable(out).map(
    // Disagreement is counted during merging: a killed attempt takes its share with it (docs/cohorts.md).
    ({ seconds, bytes_read, cost_usd, forecast_usd, disagreement, ...lasting }) => lasting,
  );
}
