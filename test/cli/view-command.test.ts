import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EXIT } from "../../src/exit/exit-status.ts";
import { writeMadeSlide } from "../builders/slide.ts";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-view-"));
  const { path } = writeMadeSlide(join(directory, "slide.tiff"), { width: 200, height: 150 });
  writeFileSync(join(directory, "cut.tiff"), readFileSync(path).subarray(0, 300));
  writeFileSync(join(directory, "notes.md"), "# Notes\n");
  mkdirSync(join(directory, "empty"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("view of what is neither a run nor a scan", () => {
  it.each([
    ["nowhere.svs", EXIT.source, /^tilewright: .*nowhere\.svs.* does not exist/],
    ["notes.md", EXIT.source, /^tilewright: notes\.md is not an image that can be read/],
    ["cut.tiff", EXIT.source, /^tilewright: cut\.tiff is cut short or damaged/],
    ["empty", EXIT.source, /^tilewright: empty /],
  ])("%s is refused before a page is served", (name, status, message) => {
    const run = spawnSync(process.execPath, [MAIN, "view", join(directory, name)], {
      encoding: "utf8",
      timeout: 30_000,
    });
    expect(run.stdout).toBe("");
    expect(run.stderr.trim()).toMatch(message);
    expect(run.stderr.trim().split("\n")).toHaveLength(1);
    expect(run.status).toBe(status);
  });
});

it("a wrong flag is an error of tilewright, with its name", () => {
  const { stderr, status } = spawnSync(process.execPath, [MAIN, "view", "--prot", "1"], { encoding: "utf8" });
  expect(stderr).toMatch(/^tilewright: unknown option '--prot'/);
  expect(status).toBe(EXIT.usage);
});
