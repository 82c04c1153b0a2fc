/**
 * Runs the service's compose file with Docker, as docs/deploy.md says: builds, starts, uploads a scan, compares its results with those
 * of `segment`, restarts, and looks for the job again. Needs a Docker daemon with compose, or says that it was skipped;
 * TILEWRIGHT_NEEDS_DOCKER=1 turns a skip into an error. Where Docker's registry is out of reach, it needs debootstrap and root, too.
 */
import { deepEqual, equal } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { upload } from "../../src/client/upload.ts";
import { segment } from "../../src/index.ts";
import { writeMadeSlide } from "../../test/builders/slide.ts";
import { fillBase, fillNode } from "./base-image.ts";

const FILE = "infra/service/compose.yaml";
const SERVER = "http://127.0.0.1:8787";
const OWN_NODE = "tilewright-check/node";
const STARTS_WITHIN_MS = 180_000;

const docker = (...args: string[]) => execFileSync("docker", args, { encoding: "utf8", maxBuffer: 1 << 28 });
if (!works("info") || !works("compose", "version")) {
  console.log("skipped the check of the compose file: no Docker daemon with compose responds");
  process.exit(process.env.TILEWRIGHT_NEEDS_DOCKER ? 1 : 0);
}
const directory = mkdtempSync(join(tmpdir(), "tilewright-compose-"));
const files = ["--file", FILE, ...ownBase()];
const compose = (...args: string[]) =>
  docker("compose", ...files, "--project-name", "tilewright-check", ...args);
try {
  compose("build", "--quiet");
  compose("up", "--detach");
  const token = await tokenOfIt();
  await isHealthy();
  const job = await givesTheBytesOfSegment(token);
  compose("restart");
  await isHealthy();
  deepEqual(await jobs(token), [job]);
  console.log(
    "the compose file builds, serves, gives the bytes of segment, and keeps its jobs over a restart",
  );
} finally {
  compose("down", "--volumes");
  rmSync(directory, { recursive: true, force: true });
}

function works(...args: string[]): boolean {
  try {
    execFileSync("docker", args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** @returns options that build on an image of our own, if Node's cannot be had */
function ownBase(): string[] {
  const [, image] = /^ARG NODE=(\S+)$/m.exec(readFileSync("infra/service/Dockerfile", "utf8"))!;
  if (works("image", "inspect", image!) || works("pull", "--quiet", image!)) return [];
  if (!works("image", "inspect", OWN_NODE)) {
    const root = join(directory, "root");
    fillBase(root);
    const variables = Object.entries(fillNode(root, directory)).map(
      ([name, value]) => `ENV ${name}=${value}`,
    );
    const archive = join(directory, "node.tar");
    execFileSync("tar", ["--create", "--file", archive, "--directory", root, "."]);
    docker("import", ...variables.flatMap((line) => ["--change", line]), archive, OWN_NODE);
    rmSync(archive);
  }
  const override = join(directory, "own-base.json");
  const build = { network: "host", args: { NODE: OWN_NODE } };
  writeFileSync(override, JSON.stringify({ services: { service: { build } } }));
  return ["--file", override];
}

async function tokenOfIt(): Promise<string> {
  for (const deadline = performance.now() + STARTS_WITHIN_MS; ; await pause(500)) {
    const output = compose("logs", "--no-log-prefix", "--no-color");
    const found = /TILEWRIGHT_TOKEN=([\w-]+)/.exec(output);
    if (found) return found[1]!;
    if (performance.now() > deadline) throw new Error(`the service does not start: ${output}`);
  }
}

/** By the image's own health check. */
async function isHealthy(): Promise<void> {
  for (const deadline = performance.now() + STARTS_WITHIN_MS; ; await pause(500)) {
    const { Health, State } = JSON.parse(compose("ps", "--all", "--format", "json"));
    if (Health === "healthy") return;
    if (State !== "running" || performance.now() > deadline)
      throw new Error(`the service is ${State} and ${Health}: ${compose("logs", "--tail", "20")}`);
  }
}

/** @returns the id of the finished job */
async function givesTheBytesOfSegment(token: string): Promise<string> {
  const source = join(directory, "slide.tiff");
  writeMadeSlide(source, { width: 420, height: 300, mpp: 0.25 });
  const [out, own] = [join(directory, "uploaded"), join(directory, "own")];
  mkdirSync(out);
  await upload({ file: source, server: SERVER, token, out });
  await segment({ source, model: "nuclei", out: own, likeService: true });
  const manifest = (place: string) => JSON.parse(readFileSync(join(place, "run.json"), "utf8"));
  deepEqual(manifest(out).outputs, manifest(own).outputs);
  return manifest(out).job;
}

async function jobs(token: string): Promise<string[]> {
  const answer = await fetch(`${SERVER}/v1/jobs`, { headers: { authorization: `Bearer ${token}` } });
  equal(answer.status, 200);
  return ((await answer.json()) as { jobs: { id: string }[] }).jobs.map(({ id }) => id);
}
