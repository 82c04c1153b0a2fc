/**
 * Builds the images of the runner (for the CPU) and of the service, and runs both like the guides, with buildah and debootstrap instead of Docker.
 * Installs them where they are missing (Debian or Ubuntu, as root). TILEWRIGHT_NEEDS_IMAGE=1 turns a skip into an error.
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { segment } from "../../src/index.ts";
import { RemoteSegmenter } from "../../src/inference/remote/remote-segmenter.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import { writeMadeSlide } from "../../test/builders/slide.ts";
import { buildImage, type Image, RUNNER, SERVICE } from "./build-image.ts";
import { checkService } from "./check-service.ts";
import { type Process, startIn } from "./container.ts";

const TOKEN = "a-token-of-the-check-alone";
/** As in the image. */
const URL_OF_IT = "http://127.0.0.1:8788";
const PACKAGES = ["buildah", "debootstrap"];

/** "runner" or "service"; default both. */
const only = process.argv[2];
const why = missing();
if (why) {
  console.log(`skipped the check of the image: ${why}`);
  process.exit(process.env.TILEWRIGHT_NEEDS_IMAGE ? 1 : 0);
}
const directory = mkdtempSync(join(tmpdir(), "tilewright-image-"));
process.env.TILEWRIGHT_RUNNER_TOKEN = TOKEN;
const running = new Set<Process>();
let image: Image | undefined;
try {
  if (only !== "service") await checkRunner();
  if (only !== "runner") {
    image = buildImage(join(directory, "service"), SERVICE);
    await checkService(image, directory);
    console.log("the service's image builds, runs on a read-only root, and segments an upload");
  }
} finally {
  for (const { child } of running) child.kill("SIGKILL");
  await Promise.all([...running].map(({ ended }) => ended));
  image?.release();
  rmSync(directory, { recursive: true, force: true });
}

async function checkRunner(): Promise<void> {
  image = buildImage(join(directory, "runner"), RUNNER);
  console.log(`built: ${mebibytes(join(image.root, image.workingDirectory))} MiB beside the base and Node`);
  holdsNoMoreThanItNeeds(image);
  await wantsToken(image);
  // For any user id.
  for (const user of [image.user, "4711:4711"]) await runs(image, user);
  console.log("the image builds, runs as any user on a read-only root, and gives the same bytes");
  image.release();
  image = undefined;
}

function holdsNoMoreThanItNeeds({ root, workingDirectory }: Image): void {
  const at = (path: string) => join(root, workingDirectory, path);
  deepEqual(readdirSync(at(".")).sort(), ["LICENSE", "dist", "models", "node_modules", "package.json"]);
  const { devDependencies } = JSON.parse(readFileSync("package.json", "utf8"));
  const modules = new Set(readdirSync(at("node_modules")));
  for (const name of ["node", "typescript", "vitest", "wrangler", "miniflare"]) {
    ok(name in devDependencies, name);
    ok(!modules.has(name), `${name} is not needed in the image`);
  }
  const systems = readdirSync(at("node_modules/onnxruntime-node/bin/napi-v6"), { recursive: true });
  ok(!systems.some((path) => /\.(dll|dylib)$/.test(String(path))), "libraries of other systems");
  const files = readdirSync(at("."), { recursive: true, encoding: "utf8" });
  deepEqual(
    files.filter((path) => path.endsWith(".map")),
    [],
  );
}

async function wantsToken(image: Image): Promise<void> {
  const runner = start(image, image.user, {});
  equal(await runner.ended, 2);
  match(runner.output(), /set TILEWRIGHT_TOKEN/);
}

async function runs(image: Image, user: string): Promise<void> {
  const runner = start(image, user, { TILEWRIGHT_TOKEN: TOKEN });
  // It says so a moment after it is ready.
  while (!(await answers("/readyz")) || !/runner at/.test(runner.output())) {
    ok(running.has(runner), `the runner ended: ${runner.output()}`);
    await pause(200);
  }
  match(runner.output(), /on cpu \(onnxruntime-node [\d.]+ cpu\)/);
  equal((await fetch(new URL("/v1/info", URL_OF_IT))).status, 401);
  equal(await startIn(image, image.healthcheck, { user }).ended, 0);
  const touch = startIn(
    image,
    ["sh", "-c", "touch /tmp/x && ! touch x && ! touch /x && ! touch /var/tmp/x"],
    {
      user,
    },
  );
  equal(await touch.ended, 0, touch.output());

  const source = join(directory, "slide.tiff");
  writeMadeSlide(source, { width: 420, height: 300 });
  const results = async (backend: string) => {
    const out = join(directory, user, backend.split(":")[0]!);
    mkdirSync(out, { recursive: true });
    await segment({ source, model: "nuclei", out, backends: [backend], tissueMask: false, force: true });
    rmSync(join(out, "run.json"));
    return out;
  };
  execFileSync("diff", ["--recursive", await results(`runner:${URL_OF_IT}`), await results("local")]);

  // Running requests are answered after the stop signal.
  const model = await loadModel("nuclei");
  const client = await RemoteSegmenter.connect(URL_OF_IT, { token: TOKEN, modelHash: model.hash });
  const batch = { data: new Uint8Array(8 * 224 * 224 * 3).fill(90), shape: [8, 224, 224, 3] };
  const answer = client.segment(batch, { scaling: { low: 0, high: 255 }, precision: "u8" });
  answer.catch(() => {});
  await pause(300);
  runner.child.kill("SIGTERM");
  deepEqual((await answer).shape, [8, 3, 224, 224]);
  equal(await runner.ended, 0, runner.output());
  match(runner.output(), /"answered":true/);
  equal(await startIn(image, image.healthcheck, { user }).ended, 1);
}

function start(image: Image, user: string, env: Record<string, string>): Process {
  const runner = startIn(image, image.entrypoint, { user, env });
  running.add(runner);
  runner.ended.then(() => running.delete(runner));
  return runner;
}

async function answers(path: string): Promise<boolean> {
  return fetch(new URL(path, URL_OF_IT)).then(
    (response) => response.ok,
    () => false,
  );
}

function mebibytes(path: string): number {
  return Number(execFileSync("du", ["-sm", path], { encoding: "utf8" }).split("\t")[0]);
}

/** Installs missing tools. @returns why the check is impossible here; undefined where it is possible */
function missing(): string | undefined {
  const there = (program: string) => {
    try {
      execFileSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  };
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "it needs root on Linux";
  if (PACKAGES.every(there)) return undefined;
  if (!there("apt-get")) return `${PACKAGES.join(" and ")} are not installed`;
  const apt = (...args: string[]) =>
    execFileSync("apt-get", ["-qq", ...args], {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  apt("update");
  apt("install", "--yes", "--no-install-recommends", ...PACKAGES);
  return undefined;
}
