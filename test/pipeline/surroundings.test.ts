import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toExitStatus } from "../../src/exit/exit-status.ts";
import { segment } from "../../src/index.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";

/** What npm links. */
const COMMAND = new URL("../../src/cli/tilewright.cts", import.meta.url).pathname;
const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
let directory: string;
let slide: string;
let model: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-surroundings-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 300, height: 200 }).path;
  model = writePointwisePackage(join(directory, "pointwise"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("a run", () => {
  it("an old version of Node is reported before anything else", () => {
    const { engines } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    const old = 'data:text/javascript,Object.defineProperty(process.versions,"node",{value:"20.20.2"})';
    const { status, stderr } = spawnSync(process.execPath, ["--import", old, COMMAND, "--version"], {
      encoding: "utf8",
    });
    expect(stderr).toBe(
      `tilewright: Node 20.20.2 is too old, Tilewright needs ${engines.node.replace(">=", "")} or newer: install it from https://nodejs.org\n`,
    );
    expect(status).toBe(2);
  });

  it("continues if nothing reads its progress", () => {
    const out = join(directory, "unread");
    const args = [MAIN, "segment", slide, "--model", model, "--no-tissue-mask", "--out", out];
    const { status } = spawnSync("sh", ["-c", 'exec "$0" "$@" 2>&-', process.execPath, ...args], {
      encoding: "utf8",
    });
    expect(status).toBe(0);
    expect(JSON.parse(readFileSync(join(out, "run.json"), "utf8")).coverage.complete).toBe(true);
  });

  it("whose directory is removed meanwhile says that", async () => {
    const out = join(directory, "removed");
    const running = segment({
      source: slide,
      model,
      threads: 1,
      tissueMask: false,
      out,
      onProgress: (event) => {
        if (event.type === "progress") rmSync(out, { recursive: true, force: true });
      },
    });
    const error = await running.then(
      () => undefined,
      (cause) => cause,
    );
    const { message, exitCode } = toExitStatus(error);
    expect(message).toMatch(/it is gone: something removed or renamed it meanwhile$/);
    expect(exitCode).toBe(5);
  });
});
