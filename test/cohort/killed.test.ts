import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lastingTable, makeSlides, readTable, writeManifest } from "./make-cohort.ts";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
let directory: string;
let manifest: string;
let model: string;
let whole: string;
let wholeMs: number;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-cohort-killed-"));
  ({ model } = makeSlides(directory, 6, { width: 700 }));
  const rows = Array.from({ length: 6 }, (_, i) => `p${i},s${i}.tiff,v${i}`);
  manifest = writeManifest(join(directory, "m.csv"), ["id,source,note", ...rows, "gone,none.tiff,x"]);
  whole = join(directory, "whole");
  const started = performance.now();
  expect((await start(whole).ended).code).toBe(7);
  wholeMs = performance.now() - started;
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function start(out: string, ...flags: string[]) {
  const common = ["--model", model, "--no-tissue-mask", "--json", "--threads", "1"];
  const child = spawn(
    process.execPath,
    [MAIN, "cohort", "run", manifest, ...common, "--out", out, ...flags],
    {
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  let stderr = "";
  const watchers: { n: number; resolve: () => void }[] = [];
  child.stderr.on("data", (bytes) => {
    stderr += bytes;
    const done = stderr.match(/"state":"(done|failed)"/g)?.length ?? 0;
    for (const w of watchers) if (done >= w.n) w.resolve();
  });
  const ended = new Promise<{ code: number | null; stderr: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, stderr })),
  );
  /** Resolves when n slides are settled. */
  const at = (n: number) => new Promise<void>((resolve) => watchers.push({ n, resolve }));
  return { child, ended, at };
}

/** At any moment a row is done only if its results exist, and files are complete. */
async function expectConsistent(out: string) {
  if (existsSync(join(out, "cohort.csv"))) {
    for (const { status, job } of readTable(out)) {
      if (status === "done") expect(existsSync(join(out, "jobs", job!, "run.json"))).toBe(true);
    }
    expect(readTable(out)).toHaveLength(7);
  }
  const parts = existsSync(join(out, "objects"))
    ? readdirSync(join(out, "objects"), { recursive: true, encoding: "utf8" }).filter((n) =>
        n.endsWith(".parquet"),
      )
    : [];
  const files = [join(out, "cohort.parquet"), ...parts.map((part) => join(out, "objects", part))];
  for (const file of files.filter((f) => existsSync(f)))
    await parquetReadObjects({ file: await asyncBufferFromFile(file) });
}

describe("a cohort that is killed", () => {
  it.each([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95])(
    "after %f of its time, and again, ends with the table of an undisturbed run",
    { timeout: 300_000 },
    async (share) => {
      const out = join(directory, `killed-${share}`);
      for (let attempt = 0; attempt < 2; attempt++) {
        const run = start(out);
        const timer = setTimeout(() => run.child.kill("SIGKILL"), share * wholeMs);
        await run.ended;
        clearTimeout(timer);
        await expectConsistent(out);
      }
      const { code, stderr } = await start(out).ended;
      expect(code, stderr).toBe(7);
      await expectConsistent(out);
      expect(lastingTable(out)).toEqual(lastingTable(whole));
    },
  );

  it("between scans repeats no finished scan", async () => {
    const out = join(directory, "between");
    const run = start(out);
    await run.at(3);
    run.child.kill("SIGKILL");
    await run.ended;
    const finished = readFileSync(join(out, "journal.jsonl"), "utf8").match(/"type":"done"/g)!.length;
    const { stderr } = await start(out).ended;
    const begun = stderr.match(/"state":"begun"/g)!.length;
    expect(begun).toBeLessThanOrEqual(7 - finished);
    expect(lastingTable(out)).toEqual(lastingTable(whole));
  });

  it("by Ctrl-C or by cohort cancel ends with 130, and continues with the same command", async () => {
    const out = join(directory, "stopped");
    const first = start(out);
    await first.at(1);
    first.child.kill("SIGINT");
    const { code, stderr } = await first.ended;
    expect(code, stderr).toBe(130);
    expect(stderr).toContain("continue later with the same command");
    const second = start(out);
    await second.at(1);
    const cancel = spawnSync(process.execPath, [MAIN, "cohort", "cancel", out], {
      encoding: "utf8",
      timeout: 300_000,
    });
    const stopped = await second.ended;
    // The last scans may have finished before the request was noticed.
    expect([130, 7], stopped.stderr).toContain(stopped.code);
    if (stopped.code === 130) expect(cancel.status, cancel.stderr).toBe(0);
    expect((await start(out).ended).code).toBe(7);
    expect(lastingTable(out)).toEqual(lastingTable(whole));
    const again = spawnSync(process.execPath, [MAIN, "cohort", "cancel", out], { encoding: "utf8" });
    expect(again.stderr).toContain("no process is running the cohort");
    expect(again.status).toBe(2);
  });

  it("by a full disk says so, ends with 5, and continues when there is space again", async (context) => {
    const disk = join(directory, "disk");
    mkdirSync(disk);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=700k", "tmpfs", disk]);
    if (mounted.status !== 0) return context.skip("a small file system cannot be mounted here");
    try {
      const out = join(disk, "out");
      const { code, stderr } = await start(out).ended;
      expect(stderr).toContain("tilewright: the disk is full");
      expect(code, stderr).toBe(5);
      await expectConsistent(out);
      if (existsSync(join(out, "cohort.csv"))) {
        expect(readTable(out).filter((r) => r.status === "failed" && r.code !== "missing")).toEqual([]);
      }
      spawnSync("mount", ["-o", "remount,size=64m", disk]);
      expect((await start(out).ended).code).toBe(7);
      expect(lastingTable(out)).toEqual(lastingTable(whole));
    } finally {
      spawnSync("umount", [disk]);
    }
  });
});
