import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type SegmentOptions, segment } from "../../src/index.ts";
import { openBackends } from "../../src/local/backends.ts";
import { openSource } from "../../src/local/open-source.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import { emptyStatistics, mapAndMerge } from "../../src/orchestrator/map/map-and-merge.ts";
import { planJob } from "../../src/orchestrator/plan/plan-job.ts";
import { checkSettings } from "../../src/orchestrator/settings.ts";
import { systemClock } from "../../src/portable/system-clock.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";
import { openLabelStore } from "../../src/writers/ome-zarr/label-store.ts";
import { makeNifti } from "../builders/make-nifti.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { writeVolumePackage } from "../builders/volume-package.ts";
import { labelMapInfo } from "../orchestrator/outputs/label-map.ts";

/** Outputs are written while windows are segmented: whatever ends either of them ends both, and leaves what can be resumed. */
let directory: string;
let given: Record<string, Omit<SegmentOptions, "out"> & { source: string; model: string }>;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-stopped-"));
  const size = [70, 61, 40];
  const data = Uint8Array.from({ length: 70 * 61 * 40 }, (_, i) => 127 + 127 * Math.sin(i / 91));
  const rows = [
    [-1, 0, 0, 40],
    [0, 1, 0, -20],
    [0, 0, 1, 7],
  ];
  const volume = join(directory, "scan.nii.gz");
  writeFileSync(volume, makeNifti({ type: "uint8", size, data, sform: { code: 3, rows }, gzip: true }));
  const slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 700, height: 700 }).path;
  const pointwise = writePointwisePackage(join(directory, "pointwise"));
  given = {
    slide: { source: slide, model: pointwise, tissueMask: false, threads: 1 },
    volume: { source: volume, model: writeVolumePackage(join(directory, "cubes")), threads: 1 },
  };
  for (const [what, options] of Object.entries(given))
    await segment({ ...options, out: join(directory, what) });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let unheard: unknown[] = [];
const listen = (reason: unknown) => void unheard.push(reason);
beforeEach(() => {
  unheard = [];
  process.on("unhandledRejection", listen);
});
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", listen);
  expect(unheard).toEqual([]);
});

describe.each(["slide", "volume"])("a run over a %s", (what) => {
  const out = (name: string) => join(directory, `${what}-${name}`);
  const resumed = async (place: string) => {
    await segment({ ...given[what]!, out: place, resume: true });
    expect(treeHashes(place)).toEqual(treeHashes(join(directory, what)));
  };

  it.each([0, 1, 2, 3, 5, 8])(
    "that is stopped after %i events says so, and goes on to the same bytes",
    async (events) => {
      const place = out(`stopped-${events}`);
      const stop = new AbortController();
      const reason = new DOMException("stopped", "AbortError");
      let seen = 0;
      const onProgress = () => {
        if (seen++ === events) stop.abort(reason);
      };
      const run = segment({ ...given[what]!, out: place, signal: stop.signal, onProgress });
      await expect(run).rejects.toBe(reason);
      expect(existsSync(join(place, "run.json"))).toBe(false);
      expect(existsSync(join(place, ".tilewright", "lock"))).toBe(false);
      await resumed(place);
    },
  );

  it("ends with the error of an output, and resumes to the same bytes", async () => {
    const place = out("refused");
    const file = join(place, ".tilewright", ".measurements.csv.partial");
    let windows = 0;
    const run = segment({
      ...given[what]!,
      out: place,
      onProgress(event) {
        if (event.type === "stage" && event.stage === "segmenting") mkdirSync(file);
        if (event.type === "progress") windows++;
      },
    });
    await expect(run).rejects.toMatchObject({ code: "EISDIR" });
    expect(windows).toBeLessThan(10);
    expect(readdirSync(place)).toEqual([".tilewright"]);
    rmSync(file, { recursive: true });
    await resumed(place);
  });
});

describe("what fails waits for what is still being written, so that nobody writes into the directory of the next run", () => {
  it("where a chunk of the label map cannot be written", async () => {
    const { source: path, model: place } = given.volume!;
    const model = await loadModel(place);
    const { source, close } = await openSource(path, undefined, undefined);
    const plan = await planJob(source, model.manifest, checkSettings({}), { thumbnail: false });
    const backends = await openBackends(["cpu"], model, {
      threads: 1,
      batchSize: 1,
      precision: plan.precision,
    });
    let underWay = 0;
    const run = mapAndMerge({
      ...{ source, model, plan, backends, finished: new Set<number>(), batchSize: 1, clock: systemClock },
      statistics: emptyStatistics(),
      async writeChunk({ index }) {
        if (index[0] === 0) throw new Error("no room");
        underWay++;
        await new Promise((resolve) => setTimeout(resolve, 50));
        underWay--;
      },
    });
    await expect(run).rejects.toThrow("no room");
    expect(underWay).toBe(0);
    for (const { segmenter } of backends) await segmenter.close();
    await close();
  });

  it("where an output is given up", async () => {
    const store = new MemoryStore();
    const stage = await openLabelStore(store, "labels", labelMapInfo([64, 64], [16, 16]));
    const put = store.put.bind(store);
    const calls = { begun: 0, ended: 0 };
    store.put = async (...args: Parameters<typeof put>) => {
      calls.begun++;
      await new Promise((resolve) => setTimeout(resolve, 50));
      calls.ended++;
      return put(...args);
    };
    const sink = stage.levelSink({ name: "labels.ome.zarr" });
    const written = sink.writeTile(1, [0, 0], { data: new Uint8Array(256).fill(1) });
    await sink.abort();
    expect(calls).toEqual({ begun: 1, ended: 1 });
    await written;
  });
});
