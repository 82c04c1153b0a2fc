import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { CohortProgress } from "../src/cohort/cohort-options.ts";
import { runCohort } from "../src/cohort/run-cohort.ts";
import { writePointwisePackage } from "../test/builders/pointwise-package.ts";
import { writeMadeSlide } from "../test/builders/slide.ts";

/**
 * Overhead of a cohort beyond its scans: how soon the first of many rows starts, and how long resuming takes if all but
 * every hundredth row is done. The state is made up: one scan is segmented, the others get copies of its results.
 *   node bench/cohort.ts [--rows 10000]
 */
const { values } = parseArgs({ options: { rows: { type: "string", default: "10000" } } });
const rows = Number(values.rows);
const directory = mkdtempSync(join(tmpdir(), "tilewright-cohort-bench-"));
try {
  const model = writePointwisePackage(join(directory, "pointwise"));
  for (let i = 0; i < rows; i++) {
    if (i === 0) writeMadeSlide(join(directory, "s0.tiff"), { width: 200, height: 200 });
    else writeFileSync(join(directory, `s${i}.tiff`), i % 100 === 0 ? "to be refused" : "never read");
  }
  const lines = Array.from({ length: rows }, (_, i) => `p${i},s${i}.tiff,${i % 7},${i % 11}`);
  const manifest = join(directory, "m.csv");
  writeFileSync(manifest, `id,source,site,batch\n${lines.join("\n")}\n`);
  const out = join(directory, "out");
  const options = { cohort: manifest, model, out, concurrency: 1, tissueMask: false };

  const stop = new AbortController();
  const timed = async (until: (event: CohortProgress) => boolean) => {
    const started = performance.now();
    let seconds = Number.NaN;
    await runCohort({
      ...options,
      parallelSlides: 1,
      signal: stop.signal,
      onEvent(event) {
        if (!until(event) || !Number.isNaN(seconds)) return;
        seconds = (performance.now() - started) / 1000;
        if (event.type === "slide") stop.abort(new DOMException("", "AbortError"));
      },
    }).catch((error) => {
      if ((error as Error).name !== "AbortError") throw error;
    });
    return { startedAfter: seconds, whole: (performance.now() - started) / 1000 };
  };

  const fresh = await timed((event) => event.type === "slide" && event.state === "done");
  console.log(
    `${rows} rows from nothing: first scan done after ${fresh.startedAfter.toFixed(2)} s (memory ${memory()})`,
  );

  // Journal and results of a run that finished all but every hundredth row.
  const journal = join(out, "journal.jsonl");
  const done = readFileSync(journal, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
    .find((event) => event.type === "done");
  const { keys } = JSON.parse(readFileSync(join(out, "cohort.json"), "utf8"));
  const run = JSON.parse(readFileSync(join(out, "jobs", done.job, "run.json"), "utf8"));
  const measurements = readFileSync(join(out, "jobs", done.job, "measurements.csv"));
  const { lookUpSource: sourceState } = await import("../src/cohort/source-state.ts");
  const events: string[] = [];
  for (let i = 0; i < rows; i++) {
    if (i % 100 === 0) continue;
    const job = i.toString(16).padStart(32, "0");
    const place = join(out, "jobs", job);
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, "run.json"), JSON.stringify({ ...run, job }, null, 2));
    writeFileSync(join(place, "measurements.csv"), measurements);
    const state = await sourceState(join(directory, `s${i}.tiff`));
    const etag = state.kind === "there" ? state.etag : undefined;
    events.push(JSON.stringify({ ...done, key: keys[i], job, etag }));
  }
  writeFileSync(journal, `${events.join("\n")}\n`);

  for (const what of ["with object tables still to be written", "again"]) {
    const from = performance.now();
    let toDo = 0;
    let known = 0;
    const result = await runCohort({
      ...options,
      onEvent(event) {
        if (event.type !== "cohort") return;
        toDo = event.toDo;
        known = (performance.now() - from) / 1000;
      },
    });
    const whole = (performance.now() - from) / 1000;
    console.log(
      `${result.done} of ${rows} done, ${what}: ${toDo} to do known after ${known.toFixed(2)} s, all ended after ${whole.toFixed(2)} s (memory ${memory()})`,
    );
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function memory(): string {
  return `${Math.round((process.resourceUsage().maxRSS * 1024) / 1e6)} MB`;
}
