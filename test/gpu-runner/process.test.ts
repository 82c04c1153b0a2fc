import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { loadModel } from "../../src/local/resolve-model.ts";
import { decodeMaskBatch } from "../../src/tiling/wire/mask-batch.ts";
import { encodeWindowBatch } from "../../src/tiling/wire/window-batch.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { post } from "../service/segment-contract.ts";
import { greys, TOKEN } from "./run-runner.ts";

const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");
let directory: string;
let small: string;
const children: ChildProcess[] = [];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tilewright-runner-"));
  small = writePointwisePackage(join(directory, "small"), { window: 32 });
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});
afterAll(() => rm(directory, { recursive: true }));

/** The command in a process of its own. */
function tilewright(...args: string[]) {
  const child = spawn(process.execPath, [MAIN, "runner", "--port", "0", ...args], {
    env: { ...process.env, TILEWRIGHT_TOKEN: TOKEN },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  const told = { out: "", err: "" };
  child.stdout.on("data", (bytes) => {
    told.out += bytes;
  });
  child.stderr.on("data", (bytes) => {
    told.err += bytes;
  });
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once("close", (code, signal) => resolve(code ?? signal)),
  );
  const listening = new Promise<URL>((resolve, reject) => {
    child.stdout.on("data", () => {
      const url = /^runner at (\S+): /m.exec(told.out)?.[1];
      if (url) resolve(new URL(url));
    });
    ended.then((code) => reject(new Error(`it ended with ${code}: ${told.err}`)));
  });
  listening.catch(() => {});
  return { child, told, ended, listening };
}

it.each(["SIGTERM", "SIGINT"] as const)(
  "%s lets it answer what is under way, and end with 0",
  async (signal) => {
    const model = await loadModel("nuclei");
    const { child, told, ended, listening } = tilewright("--sessions", "1");
    const url = await listening;
    expect(told.out).toMatch(/nuclei \S+ int4 on cpu \(onnxruntime-node 1\.30\.0 cpu\), 1 session, /);
    const answer = post({ url, token: TOKEN }, encodeWindowBatch(greys(model, 8)));
    const requests = async () =>
      /^tilewright_requests\{.*\} (\d+)$/m.exec(
        await (
          await fetch(new URL("/metrics", url), { headers: { Authorization: `Bearer ${TOKEN}` } })
        ).text(),
      )?.[1];
    for (let i = 0; i < 1000 && (await requests()) !== "1"; i++)
      await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill(signal);
    const response = await answer;
    expect(response.status).toBe(200);
    expect(decodeMaskBatch(new Uint8Array(await response.arrayBuffer())).records.length).toBe(8);
    expect(await ended).toBe(0);
    expect(told.err).toContain('"answered":true');
    expect(told.err + told.out).not.toContain(TOKEN);
  },
);

it("exits with 0 after the shutdown timeout, and at once on a second signal", async () => {
  const model = await loadModel("nuclei");
  const batch = encodeWindowBatch(greys(model, 32));
  const bounded = tilewright("--sessions", "1", "--shutdown-timeout", "0");
  post({ url: await bounded.listening, token: TOKEN }, batch).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  bounded.child.kill("SIGTERM");
  expect(await bounded.ended).toBe(0);
  const twice = tilewright("--sessions", "1");
  post({ url: await twice.listening, token: TOKEN }, batch).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  twice.child.kill("SIGTERM");
  // Signals that come before the first was seen are one.
  for (let i = 0; i < 2000 && !twice.told.err.includes('"draining"'); i++)
    await new Promise((resolve) => setTimeout(resolve, 5));
  twice.child.kill("SIGTERM");
  expect(await twice.ended).toBe("SIGTERM");
});

it("is immediate without requests", async () => {
  const idle = tilewright("--model", small);
  // A connection that is kept alive is nothing to wait for.
  expect((await fetch(new URL("/healthz", await idle.listening))).status).toBe(200);
  const started = performance.now();
  idle.child.kill("SIGTERM");
  expect(await idle.ended).toBe(0);
  expect(performance.now() - started).toBeLessThan(10_000);
});

it.each([
  ["a provider that is none", ["--execution-provider", "cpu,tpu"], 2, 'there is no provider "tpu"'],
  ["a model that is none", ["--model", "nuclear"], 4, "there is no model nuclear"],
  ["a variant that is none", ["--variant", "int1"], 4, "int1"],
  ["a token that is short", ["--token", "short"], 2, "the token has 5 characters"],
  ["a port that is none", ["--port", "70000"], 2, "it must be a port"],
])("%s is a sentence and an exit code", async (_, args, code, sentence) => {
  const { told, ended } = tilewright(...args);
  expect(await ended).toBe(code);
  expect(told.err).toContain(sentence);
  expect(told.out).toBe("");
});
