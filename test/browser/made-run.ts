import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { segment } from "../../src/index.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { type MadeSlide, writeMadeSlide } from "../builders/slide.ts";

export interface MadeRun {
  directory: string;
  slide: MadeSlide;
  /** Directory of the model package. */
  model: string;
  /** Directory of the finished run. */
  out: string;
  remove(): void;
}

/** A small slide and a finished run of it, with labels that are known beforehand. */
export async function makeRun(name: string): Promise<MadeRun> {
  const directory = mkdtempSync(join(tmpdir(), "tilewright-view-"));
  const slide = writeMadeSlide(join(directory, name), { width: 1500, height: 1100 });
  const model = writePointwisePackage(join(directory, "model"));
  const out = join(directory, "out");
  await segment({ source: slide.path, model, out, threads: 1, tissueMask: false });
  return { directory, slide, model, out, remove: () => rmSync(directory, { recursive: true, force: true }) };
}
