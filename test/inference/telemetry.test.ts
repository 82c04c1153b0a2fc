import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";
import { writePointwisePackage } from "../builders/pointwise-package.ts";

const directory = mkdtempSync(join(tmpdir(), "tilewright-telemetry-"));
afterAll(() => rmSync(directory, { recursive: true }));
const pointwise = writePointwisePackage(join(directory, "package"), { window: 64 });

/** @returns what a run leaves in the home directory of whoever runs it */
async function leftAtHome(): Promise<string[]> {
  const home = join(directory, "home");
  mkdirSync(home);
  const script = join(import.meta.dirname, "../builders/probe-provider.ts");
  const { PATH = "" } = process.env;
  const { stdout } = await promisify(execFile)(process.execPath, [script, pointwise, "cpu"], {
    // Nothing that would say that this is a test: the runtime sends nothing then.
    env: { PATH, HOME: home },
    timeout: 300_000,
  });
  expect(JSON.parse(stdout).runtime).toContain("onnxruntime-node");
  return readdirSync(home, { recursive: true, encoding: "utf8" });
}

// What it would send to Microsoft waits in a data base there, beside a number that it knows this user by.
it("telemetry of the runtime is disabled", async () => {
  expect(await leftAtHome()).toEqual([]);
});

// Should a newer runtime call it another name, this says so.
it.skipIf(process.platform === "win32")(
  "telemetry is disabled by a variable that the runtime contains",
  () => {
    const ort = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
    const binaries = join(ort, "bin/napi-v6", process.platform, process.arch);
    const library = readdirSync(binaries).find((name) => name.startsWith("libonnxruntime."))!;
    expect(readFileSync(join(binaries, library)).includes("ORT_DISABLE_TELEMETRY")).toBe(true);
  },
);
