import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "node:querystring";
import { fileURLToPath } from "node:url";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bundles, bundleWorkers, startStack } from "../../src/cli/stack/local-stack.ts";
import { runRemoteCohort } from "../../src/cohort/remote/run-remote-cohort.ts";
import { runCohort } from "../../src/cohort/run-cohort.ts";
import { resolveModelDirectory } from "../../src/local/resolve-model.ts";
import { readTable, writeManifest } from "../cohort/make-cohort.ts";
import { JOBS_BINDINGS, SEGMENT_BINDINGS, TOKEN } from "./service.ts";

/** The same cohort on this machine and through the service gives the same table. */
const data = fileURLToPath(new URL("../../../shared/data/", import.meta.url));
let directory: string;
let bundles: Bundles;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-cohort-stack-"));
  bundles = await bundleWorkers();
}, 300_000);
afterAll(async () => {
  await bundles?.remove();
  rmSync(directory, { recursive: true, force: true });
});

/** Columns of time, cost and place. */
const OF_A_RUN = ["job", "seconds", "bytes_read", "bytes_written", "cost_usd", "forecast_usd"];

function lasting(out: string): string {
  const rows = readTable(out);
  const kept = rows.map((row) => Object.entries(row).filter(([name]) => !OF_A_RUN.includes(name)));
  return kept.map((row) => stringify(Object.fromEntries(row))).join("\n");
}

/** Objects of every scan, by their folder. */
async function objectsOf(out: string): Promise<Record<string, unknown>> {
  const root = join(out, "objects");
  const folders = existsSync(root) ? readdirSync(root).filter((name) => name.startsWith("id=")) : [];
  const found: Record<string, unknown> = {};
  for (const folder of folders.sort()) {
    const file = await asyncBufferFromFile(join(root, folder, "part.parquet"));
    found[folder] = await parquetReadObjects({ file });
  }
  return found;
}

async function bothWays(name: string, model: string, manifest: string, options: object) {
  const common = { cohort: manifest, model, variant: "int4-edge", ...options };
  const here = join(directory, `${name}-here`);
  const there = join(directory, `${name}-there`);
  const alone = await runCohort({ ...common, out: here, backends: ["wasm"] });
  const stack = await startStack({
    state: join(directory, `${name}-state`),
    host: "127.0.0.1",
    port: 0,
    model: resolveModelDirectory(model),
    variant: "int4-edge",
    bundles,
    jobs: JOBS_BINDINGS,
    segment: { ...SEGMENT_BINDINGS, SHARD_TIMEOUT_SECONDS: "60" },
    log: (line) => process.env.STACK_LOG && console.error(line),
  });
  try {
    const server = stack.url.href;
    const together = await runRemoteCohort({ ...common, out: there, server, token: TOKEN });
    expect({ ...together, out: "", seconds: 0, cost: 0, forecast: 0 }).toEqual({
      ...alone,
      out: "",
      seconds: 0,
      cost: 0,
      forecast: 0,
    });
    expect(together.cost).toBeGreaterThan(0);
  } finally {
    await stack.stop();
  }
  return { here, there };
}

describe.skipIf(!existsSync(data))("real files", () => {
  it("segments slides of several scanners, and reports damaged and missing ones", {
    timeout: 400_000,
  }, async () => {
    const below = (folder: string) =>
      readdirSync(join(data, "slides", folder))
        .filter((name) => /\.(svs|tiff?|ndpi)$/i.test(name))
        .map((name) => join(data, "slides", folder, name));
    const files = ["aperio-jpeg", "aperio-jpeg2000", "hamamatsu-ndpi", "ome-tiff", "broken"].flatMap(below);
    const lines = [...files, "none.svs"].map((path, i) => `"r${i}","${path}",0.5,"v ${i}"`);
    const manifest = writeManifest(join(directory, "slides.csv"), ["id,source,mpp,note", ...lines]);
    const { here, there } = await bothWays("slides", "nuclei", manifest, {
      roi: [0, 0, 300, 250],
      tissueMask: false,
    });
    const rows = readTable(there);
    expect(rows.filter((row) => row.status === "done").length).toBeGreaterThanOrEqual(5);
    expect(rows.filter((row) => row.status === "failed").length).toBeGreaterThanOrEqual(3);
    expect(lasting(there)).toBe(lasting(here));
    expect(await objectsOf(there)).toEqual(await objectsOf(here));
    expect(readFileSync(join(there, "report.html"), "utf8")).not.toContain(data);
    // Only the files that the tables need were downloaded.
    const job = rows.find((row) => row.status === "done")!.job!;
    expect(
      readdirSync(join(there, "jobs", job))
        .filter((name) => !name.startsWith("."))
        .sort(),
    ).toEqual(["measurements.csv", "overlay.png", "run.json"]);
  });

  it("segments volumes", { timeout: 400_000 }, async () => {
    const images = join(data, "vol-msd-hippocampus", "images");
    const few = readdirSync(images)
      .filter((name) => name.endsWith(".nii.gz"))
      .slice(0, 3)
      .map((name) => join(images, name));
    const manifest = writeManifest(join(directory, "volumes.csv"), ["source", ...few]);
    const { here, there } = await bothWays("volumes", "hippocampus", manifest, {});
    expect(readTable(there).map((row) => row.status)).toEqual(["done", "done", "done"]);
    expect(lasting(there)).toBe(lasting(here));
  });
});
