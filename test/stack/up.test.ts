import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeVolumePackage } from "../builders/volume-package.ts";
import { until } from "./service.ts";
import { UpProcess } from "./up-process.ts";

let directory: string;
let model: string;
let up: UpProcess | undefined;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-up-"));
  model = writePointwisePackage(join(directory, "pointwise"));
});
afterEach(async () => {
  await up?.end("SIGKILL");
  up = undefined;
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const running = (state: string) =>
  JSON.parse(readFileSync(join(state, "running.json"), "utf8")) as { pid: number; runtime: number[] };
function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("tilewright up", () => {
  it("says which runtime the edge function has", async () => {
    up = await UpProcess.start(join(directory, "engine"), model);
    expect(up.said).toMatch(/^the edge function runs pointwise on Tilewright's engine$/m);
    await up.end();
    const volume = writeVolumePackage(join(directory, "volume"), { window: [8, 16, 16], high: 255 });
    up = await UpProcess.start(join(directory, "other"), volume);
    expect(up.said).toMatch(
      /^the edge function runs volume on onnxruntime-web: the operator Conv is over other than two axes/m,
    );
  });

  it("ends workerd when it is killed, and starts again on the same state", async () => {
    const state = join(directory, "killed");
    up = await UpProcess.start(state, model);
    const { pid, runtime } = running(state);
    expect(pid).toBe(up.child.pid);
    expect(runtime).toHaveLength(1);
    const port = up.service.url.port;
    await up.end("SIGKILL");
    await until(async () => !lives(runtime[0]!) || undefined, 10);
    await expect(fetch(up.service.url)).rejects.toThrow();
    up = await UpProcess.start(state, model, ["--port", port]);
    expect((await up.service.fetch("/healthz")).status).toBe(200);
    await up.end();
    expect(running(state).runtime).toEqual([]);
  });

  it("rejects a second one on the same state, and says where the first is", async () => {
    const state = join(directory, "twice");
    up = await UpProcess.start(state, model);
    const { code, said } = await UpProcess.refused(state, model);
    expect(code).toBe(2);
    expect(said).toContain(`process ${up.child.pid} at ${up.service.url.origin}`);
    expect((await up.service.fetch("/healthz")).status).toBe(200);
  });

  it("listens on the given address with its own routes only, and warns about it", async () => {
    up = await UpProcess.start(join(directory, "everywhere"), model, ["--host", "0.0.0.0"]);
    expect(up.said).toMatch(/other machines reach it at 0\.0\.0\.0, without TLS/);
    const at = (path: string) => new URL(path, `http://127.0.0.2:${up!.service.url.port}`);
    const headers = { Authorization: `Bearer ${up.token}` };
    expect((await fetch(at("/healthz"))).status).toBe(200);
    const object = "/cdn-cgi/local/r2/public/tilewright-models/pointwise/model.json";
    expect((await fetch(at(object), { headers })).status).toBe(404);
    const override = { ...headers, "MF-Route-Override": "tilewright-segment" };
    const job = `/v1/jobs/${"0".repeat(32)}`;
    expect(await (await fetch(at(job), { headers: override })).json()).toMatchObject({
      error: { code: "job_missing" },
    });
    expect((await fetch(at(job))).status).toBe(401);
  });

  it("ends a workerd that an earlier run left behind, and says so", async () => {
    const state = join(directory, "orphan");
    mkdirSync(state);
    const fakeWorkerd = join(directory, "workerd");
    copyFileSync("/bin/sleep", fakeWorkerd);
    const orphan = spawn(fakeWorkerd, ["1000"], { stdio: "ignore" });
    const gone = new Promise((resolve) => orphan.once("exit", resolve));
    writeFileSync(join(state, "running.json"), JSON.stringify({ pid: 1, runtime: [orphan.pid] }));
    up = await UpProcess.start(state, model);
    await gone;
    expect(orphan.signalCode).toBe("SIGKILL");
    expect(up.said).toContain(`ended workerd (process ${orphan.pid})`);
  });

  it("ends no process that is not workerd, whatever its state file says", async () => {
    const state = join(directory, "notes");
    up = await UpProcess.start(state, model);
    await up.end();
    writeFileSync(
      join(state, "running.json"),
      JSON.stringify({ pid: 1, runtime: [process.pid, -1, 0, "7"] }),
    );
    up = await UpProcess.start(state, model);
    expect((await up.service.fetch("/healthz")).status).toBe(200);
  });
});
