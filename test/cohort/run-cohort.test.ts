import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planCohort } from "../../src/cli/commands/plan-cohort.ts";
import type { CohortOptions, CohortProgress } from "../../src/cohort/cohort-options.ts";
import { CohortManifestError } from "../../src/cohort/errors.ts";
import { runCohort } from "../../src/cohort/run-cohort.ts";
import { cohortStatus, exportCohort, markForRetry } from "../../src/cohort/status-cohort.ts";
import { segment } from "../../src/index.ts";
import type { SlideSummary } from "../../src/orchestrator/outputs/slide-summary.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { lastingTable, makeSlides, readTable, writeManifest } from "./make-cohort.ts";

let directory: string;
let slides: string[];
let model: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-cohort-"));
  ({ slides, model } = makeSlides(directory, 4));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let runs = 0;
async function run(cohort: string, options: Partial<CohortOptions> = {}) {
  const out = options.out ?? join(directory, `out-${runs++}`);
  const events: CohortProgress[] = [];
  const result = await runCohort({
    cohort,
    model,
    threads: 1,
    tissueMask: false,
    ...options,
    out,
    onEvent: (event) => events.push(event),
  });
  return { result, out, events };
}
const manifest = (name: string, lines: readonly string[]) => writeManifest(join(directory, name), lines);
const worked = (events: readonly CohortProgress[]) =>
  events.flatMap((e) => (e.type === "slide" && e.state === "done" && !e.found ? [e.id] : []));

describe("a cohort", () => {
  it("rejects a row with far too coarse pixels, runs the others, and accepts it with --max-magnification", async () => {
    const file = manifest("coarse.csv", ["id,source,mpp", "right,s0.tiff,0.5", "coarse,s1.tiff,1.9"]);
    const { out, result } = await run(file);
    expect(result).toMatchObject({ rows: 2, done: 1, failed: 1 });
    const [right, coarse] = readTable(out);
    expect(right).toMatchObject({ id: "right", status: "done" });
    expect(coarse).toMatchObject({
      status: "failed",
      code: "refused",
      reason: expect.stringMatching(
        /^pixels of 1.9 µm \(level 0\) would be magnified 3.8 times for model pointwise/,
      ),
    });
    const forecast = await planCohort({ source: file, model, threads: 1, tissueMask: false });
    expect(forecast.unplanned).toMatchObject([{ id: "coarse", code: "refused" }]);
    const insisted = await run(file, { maxMagnification: 4 });
    expect(insisted.result).toMatchObject({ rows: 2, done: 2, failed: 0 });
  });

  it("writes the same outputs as each scan alone, and one row for each row of the manifest", async () => {
    const file = manifest("all.csv", ["id,source,group", "a,s0.tiff,x", "b,s1.tiff,y", "gone,none.tiff,z"]);
    const { out, result } = await run(file);
    expect(result).toMatchObject({ rows: 3, done: 2, failed: 1, pending: 0 });
    const rows = readTable(out);
    expect(rows.map((r) => [r.id, r.source, r.status, r.code, r.group])).toEqual([
      ["a", "s0.tiff", "done", "", "x"],
      ["b", "s1.tiff", "done", "", "y"],
      ["gone", "none.tiff", "failed", "missing", "z"],
    ]);
    const alone = join(directory, "alone");
    const one = await segment({ source: slides[0]!, model, threads: 1, tissueMask: false, out: alone });
    const { ".thumbnail-320.png": _, ...inCohort } = treeHashes(join(out, "jobs", rows[0]!.job!));
    expect(inCohort).toEqual(treeHashes(alone));
    expect(rows[0]!.job).toBe(one.job);
    const { objects, classes } = one.summary as SlideSummary;
    expect(Number(rows[0]!.count_blob)).toBe(objects[0]!.count);
    expect(Number(rows[0]!.fraction_rim)).toBe(classes[2]!.fraction);
    expect(readdirSync(join(out, "objects")).filter((n) => n.startsWith("id="))).toEqual(["id=a", "id=b"]);
    expect(readFileSync(join(out, "report.html"), "utf8")).toContain("data:image/png");
    expect(existsSync(join(out, "lock"))).toBe(false);
    expect(statSync(join(out, "cohort.json")).mode & 0o077).toBe(0);
  });

  it("repeats no work when run again, with more rows, with other ids, or from another cohort", async () => {
    const store = join(directory, "store");
    const { out } = await run(manifest("few.csv", ["id,source", "a,s0.tiff"]), { store });
    const again = await run(join(directory, "few.csv"), { out, store });
    expect(again.events.filter((e) => e.type === "slide")).toEqual([]);
    const more = await run(manifest("few.csv", ["id,source,age", "new,s1.tiff,3", "renamed,s0.tiff,4"]), {
      out,
      store,
    });
    expect(worked(more.events)).toEqual(["new"]);
    expect(readTable(out).map((r) => [r.id, r.status, r.age])).toEqual([
      ["new", "done", "3"],
      ["renamed", "done", "4"],
    ]);
    const other = await run(manifest("other.csv", ["source", "s1.tiff", "s0.tiff"]), { store });
    expect(worked(other.events)).toEqual([]);
    expect(other.result.done).toBe(2);
    // Other settings mean other work.
    expect(
      worked((await run(join(directory, "other.csv"), { store, overlapRatio: 0.5 })).events),
    ).toHaveLength(2);
  });

  it("lists changed settings, and runs everything again only with --restart", async () => {
    const file = manifest("other.csv", ["source", "s0.tiff", "s1.tiff"]);
    const { out } = await run(file, { roi: [0, 0, 200, 150] });
    const before = treeHashes(out);
    for (const [options, sentence] of [
      [{ roi: [0, 0, 150, 150] }, /--roi is 0,0,150,150 and was 0,0,200,150/],
      [{}, /--roi is the default and was 0,0,200,150/],
      [
        { roi: [0, 0, 200, 150], overlapRatio: 0.5, outputs: ["measurements.csv"] },
        /--outputs is measurements.csv and was the default; --overlap is 0.5 and was the default/,
      ],
    ] as [Partial<CohortOptions>, RegExp][]) {
      await expect(run(file, { ...options, out })).rejects.toThrow(sentence);
      await expect(run(file, { ...options, out })).rejects.toThrow(/--restart to segment every scan again/);
    }
    expect(treeHashes(out)).toEqual(before);
    // The backend does not matter.
    expect(worked((await run(file, { roi: [0, 0, 200, 150], threads: 2, out })).events)).toEqual([]);
    const again = await run(file, { roi: [0, 0, 150, 150], restart: true, out });
    expect(worked(again.events).sort()).toEqual(["s0.tiff", "s1.tiff"]);
    expect(readdirSync(join(out, "jobs"))).toHaveLength(2);
    await expect(run(file, { roi: [0, 0, 200, 150], out })).rejects.toThrow(/and was 0,0,150,150/);
  });

  it("reads a manifest in the given encoding, also when it continues", async () => {
    const file = join(directory, "latin1.csv");
    writeFileSync(file, Buffer.from("source,site\ns0.tiff,Zürich\n", "latin1"));
    await expect(run(file)).rejects.toThrow(/line 2: it is not in UTF-8/);
    const { out } = await run(file, { encoding: "latin1" });
    expect(readTable(out)[0]!.site).toBe("Zürich");
  });

  it("runs again only scans whose source changed", async () => {
    const place = join(directory, "changing");
    mkdirSync(place);
    copyFileSync(slides[0]!, join(place, "a.tiff"));
    copyFileSync(slides[1]!, join(place, "b.tiff"));
    writeFileSync(join(place, "c.tiff"), "no image");
    const file = writeManifest(join(place, "m.csv"), ["source", "a.tiff", "b.tiff", "c.tiff", "d.tiff"]);
    const { out } = await run(file);
    const before = readTable(out);
    expect(before.map((r) => r.code)).toEqual(["", "", "unreadable", "missing"]);
    copyFileSync(slides[2]!, join(place, "a.tiff"));
    const { events } = await run(file, { out });
    expect(worked(events)).toEqual(["a.tiff"]);
    expect(readTable(out)[0]!.job).not.toBe(before[0]!.job);
    expect(readTable(out)[0]!.analysed_area_mm2).not.toBe(before[0]!.analysed_area_mm2);
    copyFileSync(slides[3]!, join(place, "c.tiff"));
    copyFileSync(slides[3]!, join(place, "d.tiff"));
    rmSync(join(place, "b.tiff"));
    const last = await run(file, { out });
    expect(worked(last.events).toSorted()).toEqual(["c.tiff", "d.tiff"]);
    // A done scan stays done when its source is moved, and is flagged.
    expect(readTable(out).map((r) => [r.status, r.flags!.includes("source-gone")])).toEqual([
      ["done", false],
      ["done", true],
      ["done", false],
      ["done", false],
    ]);
  });

  it("reports each failure by code and sentence without paths, and runs the other scans", async () => {
    const place = join(directory, "hidden-place");
    mkdirSync(place);
    const { slides: other } = makeSlides(place, 1, { mpp: 1 });
    expect(other).toHaveLength(1);
    copyFileSync(slides[0]!, join(place, "good.tiff"));
    writeFileSync(join(place, "text.svs"), "words");
    writeFileSync(join(place, "cut.tiff"), readFileSync(slides[0]!).subarray(0, 3000));
    // Bright everywhere: background.
    writeFileSync(join(place, "empty.tiff"), "");
    const file = writeManifest(join(place, "m.csv"), [
      "id,source,mpp,mask",
      "text,text.svs,,",
      "cut,cut.tiff,,",
      "empty,empty.tiff,,",
      "host,http://127.0.0.1:9/x.svs?signature=secret-key,,",
      "mask,good.tiff,,nowhere.png",
      "coarse,s0.tiff,,",
      "wrong,good.tiff,5000,",
      "good,good.tiff,,",
    ]);
    const { out, result } = await run(file);
    const rows = readTable(out);
    expect(Object.fromEntries(rows.map((r) => [r.id, r.code]))).toMatchObject({
      text: "unreadable",
      empty: "unreadable",
      host: "storage",
      mask: "missing",
      coarse: "",
      good: "",
    });
    expect(rows.find((r) => r.id === "cut")!.status).toBe("failed");
    expect(result.failed).toBeGreaterThanOrEqual(5);
    for (const { reason } of rows) {
      expect(reason).not.toContain("hidden-place");
      expect(reason).not.toContain("secret-key");
    }
    for (const name of ["cohort.csv", "report.html"]) {
      const text = readFileSync(join(out, name), "utf8");
      expect(text).not.toContain("hidden-place");
      expect(text).not.toContain("secret-key");
    }
  });

  it("rejects an invalid manifest before anything is written", async () => {
    const out = join(directory, "refused");
    const file = manifest("bad.csv", ["id,source,count_blob", "a,s0.tiff,1", "a,s1.tiff,2"]);
    await expect(run(file, { out })).rejects.toThrow(CohortManifestError);
    const twice = manifest("bad.csv", ["id,source", "a,s0.tiff", "a,s1.tiff"]);
    await expect(run(twice, { out })).rejects.toThrow(/line 3: id "a" is already used in line 2/);
    await expect(run(join(directory, "nothing-*.svs"), { out })).rejects.toThrow(/no image was found/);
    await expect(run(join(directory, "absent.csv"), { out })).rejects.toThrow(
      /there is no manifest or folder/,
    );
    expect(existsSync(out)).toBe(false);
    const other = join(directory, "other-things");
    mkdirSync(other);
    writeFileSync(join(other, "thesis.tex"), "");
    await expect(run(twice, { out: other })).rejects.toThrow(/holds other things/);
  });

  it("takes a folder and a pattern, each image by its path", async () => {
    const place = join(directory, "tree");
    for (const folder of ["x", "y"]) {
      mkdirSync(join(place, folder), { recursive: true });
      copyFileSync(slides[0]!, join(place, folder, "same.tiff"));
    }
    writeFileSync(join(place, "notes.txt"), "");
    const { out } = await run(place, { out: join(place, "results") });
    expect(readTable(out).map((r) => r.id)).toEqual(["x__same.tiff", "y__same.tiff"]);
    // The cohort's own results are not images of the folder.
    const again = await run(place, { out });
    expect(again.result.rows).toBe(2);
    expect((await run(join(place, "*", "same.t*"))).result.rows).toBe(2);
    expect((await run(join(place, "x", "**"))).result).toMatchObject({ rows: 1, done: 1 });
  });

  it("starts with the largest scan if asked to, and shares the work of equal rows", async () => {
    const file = manifest("sizes.csv", ["id,source", "a,s0.tiff", "b,s3.tiff", "c,s1.tiff", "again,s0.tiff"]);
    const { events, out } = await run(file, { largestFirst: true, parallelSlides: 1 });
    const begun = events.flatMap((e) => (e.type === "slide" && e.state === "begun" ? [e.id] : []));
    expect(begun).toEqual(["b", "c", "a"]);
    const rows = readTable(out);
    expect(rows[3]!.job).toBe(rows[0]!.job);
    expect(rows.map((r) => r.status)).toEqual(["done", "done", "done", "done"]);
  });

  it("keeps failures until a retry, and exports existing results", async () => {
    const place = join(directory, "retried");
    mkdirSync(place);
    copyFileSync(slides[0]!, join(place, "a.tiff"));
    const file = writeManifest(
      join(place, "m.csv"),
      ["source,mask", "a.tiff,", "a.tiff,none.png"].map((l, n) => (n === 0 ? `id,${l}` : `r${n},${l}`)),
    );
    const { out } = await run(file);
    expect(cohortStatus(out)).toMatchObject({
      rows: 2,
      done: 1,
      failed: 1,
      failures: [{ id: "r2", code: "missing" }],
    });
    copyFileSync(slides[0]!, join(place, "none.png"));
    // The scan is unchanged since it failed.
    expect((await run(file, { out })).result.failed).toBe(1);
    expect(() => markForRetry(out, ["who"])).toThrow(/no scan "who"/);
    expect(markForRetry(out, ["r1"])).toBe(0);
    expect(markForRetry(out)).toBe(1);
    expect(cohortStatus(out)).toMatchObject({ failed: 0, pending: 1 });
    expect((await run(file, { out })).result).toMatchObject({ done: 2, failed: 0 });
    const table = lastingTable(out);
    rmSync(join(out, "objects"), { recursive: true });
    for (const name of ["cohort.csv", "cohort.parquet", "report.html"]) rmSync(join(out, name));
    await exportCohort(out);
    expect(lastingTable(out)).toEqual(table);
    expect(existsSync(join(out, "objects", "id=r1", "part.parquet"))).toBe(true);
    // Deleted results are not listed, and are made again.
    rmSync(join(out, "jobs", table[0]!.job!), { recursive: true });
    await exportCohort(out);
    expect(readTable(out).map((r) => r.status)).toEqual(["pending", "done"]);
    expect(worked((await run(file, { out })).events)).toEqual(["r1"]);
    expect(lastingTable(out)).toEqual(table);
  });

  it("is locked to one run at a time", async () => {
    const file = manifest("lock.csv", ["source", "s0.tiff", "s1.tiff"]);
    const out = join(directory, "locked");
    const first = run(file, { out });
    await expect.poll(() => existsSync(join(out, "lock"))).toBe(true);
    await expect(run(file, { out })).rejects.toThrow(/is working in this directory/);
    expect((await first).result.done).toBe(2);
  });

  it("requests each finished scan's source once when it continues", async () => {
    let requests: string[] = [];
    const server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url} ${request.headers.range?.slice(6)}`);
      const bytes = readFileSync(join(directory, request.url!.slice(1)));
      const headers = { ETag: '"one"', "Accept-Ranges": "bytes" };
      if (request.method === "HEAD")
        return response.writeHead(200, { ...headers, "Content-Length": bytes.length }).end();
      const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
      const part = bytes.subarray(Number(from), Math.min(bytes.length, Number(to) + 1));
      response
        .writeHead(206, {
          ...headers,
          "Content-Range": `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`,
          "Content-Length": part.length,
        })
        .end(part);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const lines = ["source", `${base}/s0.tiff`, `${base}/s1.tiff`, `${base}/s2.tiff`];
      const { out } = await run(manifest("web.csv", lines));
      // A server may give every file the same etag: it is only valid for its address.
      expect(new Set(readTable(out).map((r) => r.job)).size).toBe(3);
      expect(requests.length).toBeGreaterThan(6);
      requests = [];
      const { result } = await run(manifest("web.csv", lines), { out });
      expect(result.done).toBe(3);
      expect(requests.toSorted()).toEqual(["GET /s0.tiff 0-0", "GET /s1.tiff 0-0", "GET /s2.tiff 0-0"]);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      // The server is gone: the done scan stays done, flagged as not checked.
      const offline = await run(manifest("web.csv", lines), { out });
      expect(offline.result.done).toBe(3);
      expect(readTable(out).every((r) => r.flags!.includes("source-not-checked"))).toBe(true);
    } finally {
      server.close();
    }
  });

  it("stops when no backend is left, and continues with another", async () => {
    const file = manifest("fleet.csv", ["source", ...slides.map((s) => s.split("/").at(-1)!)]);
    const out = join(directory, "fleet");
    const refused = run(file, { out, backends: ["runner:http://127.0.0.1:9"] });
    await expect(refused).rejects.toThrow(/cannot reach/);
    expect(readTable(out).map((r) => r.status)).toEqual(["pending", "pending", "pending", "pending"]);
    expect((await run(file, { out, backends: ["cpu"] })).result.done).toBe(4);
  });

  it("reads a truncated journal, and writes no secret into its state", async () => {
    const file = manifest("torn.csv", ["source", "s0.tiff"]);
    const { out } = await run(file, { token: "a-secret-token" });
    for (const name of ["cohort.json", "journal.jsonl"])
      expect(readFileSync(join(out, name), "utf8")).not.toContain("a-secret-token");
    appendFileSync(join(out, "journal.jsonl"), '{"at":"2026","type":"fai');
    expect((await run(file, { out })).result.done).toBe(1);
    expect(readFileSync(join(out, "journal.jsonl"), "utf8")).not.toContain('"fai');
  });
});

it("a forecast counts planned scans and those without a plan", async () => {
  const file = manifest("plan.csv", ["source", "s0.tiff", "s1.tiff", "none.tiff"]);
  const forecast = await planCohort({ source: file, model, threads: 1, tissueMask: false });
  const { result } = await run(file);
  expect(forecast.windows).toBe(result.windows);
  expect(forecast.unplanned.map((u) => [u.id, u.code])).toEqual([["none.tiff", "missing"]]);
  expect(forecast.backends.map((b) => b.backend)).toEqual(["cpu", "edge"]);
  for (const { usd, seconds, assumes } of forecast.backends) {
    expect(usd).toBeGreaterThan(0);
    expect(seconds).toBeGreaterThan(0);
    expect(assumes).not.toBe("");
  }
  const sampled = await planCohort({ source: file, model, threads: 1, tissueMask: false, sample: 1 });
  expect(sampled).toMatchObject({ scans: 3, planned: 1 });
});
