import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { UpProcess } from "./up-process.ts";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
let directory: string;
let up: UpProcess;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-list-"));
  up = await UpProcess.start(join(directory, "state"), writePointwisePackage(join(directory, "pointwise")));
}, 120_000);
afterAll(async () => {
  await up?.end("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

async function tilewright(...args: string[]): Promise<string> {
  const service = ["--server", up.service.url.href, "--token", up.token];
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, ...args, ...service]);
  return stdout;
}

it("lists the jobs of a service, newest first", async () => {
  expect(await tilewright("jobs", "list")).toBe("no jobs\n");
  const started: string[] = [];
  for (const name of ["a.tiff", "b.tiff"]) {
    const path = join(directory, name);
    writeMadeSlide(path, { width: 300, height: 200, mpp: 0.5 });
    await tilewright("upload", path, "--watch", "--out", join(directory, `${name}-results`));
    started.unshift(JSON.parse((await tilewright("jobs", "list", "--limit", "1", "--json")).trim()).id);
  }
  const [head, ...rows] = (await tilewright("jobs", "list")).trimEnd().split("\n");
  expect(head).toMatch(/^job +state +windows +model +begun +source$/);
  expect(rows.map((row) => row.split(/ +/)[0])).toEqual(started);
  expect(rows[0]).toMatch(/ done +(\d+)\/\1 +pointwise .* \d{4}-\d\d-\d\d \d\d:\d\d:\d\d +r2:\S+b\.tiff$/);
  expect((await tilewright("jobs", "list", "--search", "A.TIFF")).split("\n")).toHaveLength(3);
  expect(await tilewright("jobs", "list", "--state", "failed", "cancelled")).toBe("no jobs\n");
  await expect(tilewright("jobs", "list", "--state", "lost")).rejects.toThrow(/Allowed choices are planning/);
});
