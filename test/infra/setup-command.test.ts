import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT, WORKERS } from "../../infra/cloudflare/worker-config.ts";
import type { Info } from "../../src/edge/segment/info.ts";
import { type Bundle, bundleWorker, runWorker, upload } from "../edge/run-worker.ts";

const SECRET = "hush-hush-hush-hush-hush";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tilewright-setup-test-"));
  await writeFile(join(directory, "TOKEN"), SECRET);
  await writeFile(
    join(directory, "TOKENS"),
    JSON.stringify([{ name: "lab", token: SECRET, scopes: ["admin"] }]),
  );
});
afterAll(() => rm(directory, { recursive: true }));

function setup(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(ROOT, "infra/cloudflare/setup.ts"), ...args],
      { cwd: tmpdir() },
      (error, stdout, stderr) => resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
  });
}

describe("node infra/cloudflare/setup.ts", () => {
  it("--dry-run prints the plan from anywhere, and no secret", async () => {
    const { code, stdout, stderr } = await setup("--dry-run", "--secrets", directory);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^wrangler queues create tilewright-dead$/m);
    expect(stdout).toMatch(/^wrangler secret put TOKENS --config wrangler.toml {3}# the value of TOKENS/m);
    expect(stdout).toMatch(/^wrangler deploy --config src\/edge\/segment\/wrangler.toml$/m);
    expect(stdout).not.toContain(SECRET);
  });

  it("--dry-run --generate assumes generated secrets, and generates none", async () => {
    const none = join(directory, "none");
    const { code, stdout } = await setup("--dry-run", "--generate", "--secrets", none);
    expect(code).toBe(0);
    expect(stdout).toMatch(/secret put CALLBACK_SECRET/);
    await expect(readdir(none)).rejects.toThrow(/ENOENT/);
  });

  it("reports what is missing, and changes nothing", async () => {
    const dry = await setup("--dry-run", "--secrets", join(directory, "none"));
    expect(dry.code).toBe(2);
    expect(dry.stderr).toMatch(/problem: there is no secret TOKENS/);
    const real = await setup("--secrets", join(directory, "none"));
    expect(real).toMatchObject({ code: 1, stdout: "" });
    expect(real.stderr).toMatch(/nothing was changed/);
  });

  it("rejects an invalid configuration with a sentence", async () => {
    const path = join(directory, "config.json");
    const config = JSON.parse(await readFile(join(ROOT, "infra/cloudflare/config.json"), "utf8"));
    await writeFile(path, JSON.stringify({ ...config, notifications: [] }));
    const { code, stderr } = await setup("--dry-run", "--config", path, "--secrets", directory);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^configuration: notifications: [^\n]+\n$/);
  });
});

describe("the probe", () => {
  let bundle: Bundle;
  let worker: Miniflare;
  let url: URL;
  beforeAll(async () => {
    bundle = await bundleWorker(WORKERS.probe);
    worker = await runWorker(bundle, {
      buckets: ["MODELS"],
      bindings: { MODEL: "nuclei", VARIANT: "int4-edge", HEAP_CAP_MIB: "64", TOKEN: SECRET },
    });
    await upload(worker, "MODELS", join(ROOT, "models/nuclei"), "nuclei/");
    url = await worker.ready;
  });
  afterAll(async () => {
    await worker?.dispose();
    await bundle?.remove();
  });

  it("loads the model and describes the isolate, without queue or job service", async () => {
    const headers = { Authorization: `Bearer ${SECRET}` };
    const response = await fetch(new URL("/v1/info", url), { headers });
    expect(response.status).toBe(200);
    const { model, golden, runtime } = (await response.json()) as Info;
    expect(model?.variant).toBe("int4-edge");
    expect(golden?.maxAbs).toBeLessThan(0.05);
    expect(runtime.sharedMemory).toEqual({ allowed: true });
    expect(runtime.heapBytes).toBeLessThanOrEqual(runtime.heapCapBytes!);
  });
});
