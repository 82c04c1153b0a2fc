import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
let directory: string;
let common: string[];
let windows: number;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-killed-"));
  const slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 1400, height: 1400 });
  const model = writePointwisePackage(join(directory, "pointwise"));
  common = ["segment", slide.path, "--model", model, "--no-tissue-mask", "--json", "--threads", "1"];
  const { code } = await start(join(directory, "whole")).ended;
  expect(code).toBe(0);
  windows = JSON.parse(readFileSync(join(directory, "whole", "run.json"), "utf8")).plan.windows;
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Starts the command line; `at(n)` resolves once n windows are done. */
function start(out: string, ...flags: string[]) {
  const child: ChildProcess = spawn(process.execPath, [MAIN, ...common, "--out", out, ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const watchers: { n: number; resolve: () => void }[] = [];
  let stderr = "";
  child.stderr!.on("data", (bytes) => {
    stderr += bytes;
    const done = [...stderr.matchAll(/"windowsDone":(\d+)/g)].map((m) => Number(m[1])).at(-1) ?? 0;
    for (const w of watchers) if (done >= w.n) w.resolve();
  });
  const ended = new Promise<{ code: number | null; signal: string | null; stderr: string }>((resolve) =>
    child.on("close", (code, signal) => resolve({ code, signal, stderr })),
  );
  const at = (n: number) => new Promise<void>((resolve) => watchers.push({ n, resolve }));
  return { child, ended, at };
}

describe("a run that is killed", () => {
  it.each([0.1, 0.5, 0.95])("after %f of its windows resumes to the same bytes", async (share) => {
    const out = join(directory, `killed-${share}`);
    const run = start(out);
    await Promise.race([run.at(Math.floor(share * windows)), run.ended]);
    run.child.kill("SIGKILL");
    expect((await run.ended).signal).toBe("SIGKILL");
    expect(existsSync(join(out, "run.json"))).toBe(false);
    const { code, stderr } = await start(out, "--resume").ended;
    expect(code, stderr).toBe(0);
    expect(treeHashes(out)).toEqual(treeHashes(join(directory, "whole")));
  });

  it("by Ctrl-C ends with 130, says how to continue, and continues", async () => {
    const out = join(directory, "interrupted");
    const run = start(out);
    await run.at(Math.floor(windows / 2));
    run.child.kill("SIGINT");
    const { code, stderr } = await run.ended;
    expect(code, stderr).toBe(130);
    expect(stderr).toContain("continue later with --resume");
    expect((await start(out, "--resume").ended).code).toBe(0);
    expect(treeHashes(out)).toEqual(treeHashes(join(directory, "whole")));
  });

  it("on a full disk ends with 5 and continues once there is space", async (context) => {
    const disk = join(directory, "disk");
    mkdirSync(disk);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=96k", "tmpfs", disk]);
    if (mounted.status !== 0) return context.skip("a small file system cannot be mounted here");
    try {
      const out = join(disk, "out");
      const { code, stderr } = await start(out).ended;
      expect(stderr).toContain("tilewright: the disk is full: free some space and continue with --resume");
      expect(code).toBe(5);
      expect(readdirSync(out)).toEqual([".tilewright"]);
      spawnSync("mount", ["-o", "remount,size=8m", disk]);
      expect((await start(out, "--resume").ended).code).toBe(0);
      expect(treeHashes(out)).toEqual(treeHashes(join(directory, "whole")));
    } finally {
      spawnSync("umount", [disk]);
    }
  });

  it("leaves its directory to one process at a time", async () => {
    const out = join(directory, "twice");
    const first = start(out);
    await first.at(1);
    const { code, stderr } = await start(out, "--resume").ended;
    expect(code).toBe(5);
    expect(stderr).toMatch(/process \d+ is working in this directory/);
    expect((await first.ended).code).toBe(0);
  });
});
