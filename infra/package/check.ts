import { deepEqual, equal, match, ok } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Project } from "./project.ts";
import { runExamples } from "./run-examples.ts";

/**
 * Packs the package and uses it as a stranger would, in empty directories outside of the repository: on Node 22 and 24, with
 * NuGet out of reach, without a clone. Also the examples, a strict TypeScript project, an old Node, Deno and Bun.
 *
 *   node infra/package/check.ts [--keep] [--tarball <file>] [--node <major>]
 *
 * It needs the npm registry, and Chromium for the web page.
 */
const ROOT = resolve(import.meta.dirname, "../..");
const PACKED_BYTES = 15e6;
const INSTALLED_MB = 350;
const NODES = ["22", "24"];
const TOO_OLD = "20";

const { values } = parseArgs({
  options: { keep: { type: "boolean" }, tarball: { type: "string" }, node: { type: "string" } },
});
const directory = mkdtempSync(join(tmpdir(), "tilewright-package-"));
try {
  const tarball = values.tarball ?? pack();
  lint(tarball);
  const slide = paintSlide();
  for (const version of values.node ? [values.node] : NODES) await useOn(version, tarball, slide);
  refuseOldNode(tarball);
} finally {
  if (values.keep) console.log(`kept ${directory}`);
  else rmSync(directory, { recursive: true, force: true });
}

function pack(): string {
  const packed = execFileSync("npm", ["pack", "--silent", "--pack-destination", directory], { cwd: ROOT });
  ok(packed.length > 0);
  const [name] = readdirSync(directory).filter((file) => file.endsWith(".tgz"));
  const tarball = join(directory, name!);
  const { size } = statSync(tarball);
  console.log(`packed: ${(size / 1e6).toFixed(1)} MB`);
  ok(size <= PACKED_BYTES, `the package has ${size} bytes, the limit is ${PACKED_BYTES}`);
  return tarball;
}

/** Whether the exports resolve for every kind of importer, to types that are those of the code. */
function lint(tarball: string): void {
  const bin = join(ROOT, "node_modules/.bin");
  execFileSync(join(bin, "publint"), ["run", tarball, "--strict"], { stdio: "inherit" });
  // An ESM package: what require() of older Node versions gets is not judged.
  // It knows no WebAssembly: the examples import that.
  const { exports: subpaths } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const excluded = Object.keys(subpaths).filter((subpath) => subpath.endsWith(".wasm"));
  execFileSync(
    join(bin, "attw"),
    [tarball, "--profile", "esm-only", "--no-emoji", "--exclude-entrypoints", ...excluded],
    { stdio: "inherit" },
  );
}

function paintSlide(): string {
  execFileSync(process.execPath, [join(ROOT, "infra/package/paint-slide.ts"), join(directory, "slide.tiff")]);
  return join(directory, "slide.tiff");
}

async function useOn(version: string, tarball: string, slide: string): Promise<void> {
  const project = new Project(join(directory, `node-${version}`), version);
  project.npm("install", tarball);
  const megabytes = project.megabytes();
  console.log(`Node ${version}: installed ${megabytes} MB`);
  ok(megabytes <= INSTALLED_MB, `the package installs ${megabytes} MB, the limit is ${INSTALLED_MB}`);
  ok(
    !existsSync(join(project.directory, "node_modules/onnxruntime-node")),
    "onnxruntime-node is not optional",
  );

  const expected = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version;
  equal(project.tilewright("--version").trim(), expected);
  equal(JSON.parse(project.tilewright("inspect", slide, "--model", "nuclei", "--json")).model.level, 0);
  const wasm = segment(project, slide, "wasm");
  match(wasm.backends[0].runtime, / wasm/);
  const refused = project.fails("up", "--port", "0");
  match(
    refused.stderr,
    /^(.*\n)*tilewright: tilewright up needs the runtime of Workers: npm install miniflare@\S+\n$/,
  );

  // What the sentences say: the native runtime without CUDA, and the runtime of Workers.
  const { peerDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  project.npm("install", ...Object.entries(peerDependencies).map(([name, v]) => `${name}@${v}`));
  const native = segment(project, slide, "native");
  match(native.backends[0].runtime, /^onnxruntime-node .* cpu/);
  sameNuclei(native.summary.objects[0].count, wasm.summary.objects[0].count);

  mkdirSync(join(project.directory, "scans"));
  for (const name of ["a.tiff", "b.tiff"]) cpSync(slide, join(project.directory, "scans", name));
  project.tilewright("cohort", "run", "scans", "--out", "cohort");
  const table = readFileSync(join(project.directory, "cohort/cohort.csv"), "utf8").trim().split(/\r?\n/);
  equal(table.length, 3);
  await view(project);
  await throughRunner(project, slide, native.summary.objects[0].count);
  await throughService(project, slide);
  if (version === NODES.at(-1)) await runExamples(project, join(ROOT, "examples"), slide);
}

function segment(project: Project, slide: string, out: string) {
  project.tilewright("segment", slide, "--model", "nuclei", "--out", out);
  const run = JSON.parse(readFileSync(join(project.directory, out, "run.json"), "utf8"));
  ok(run.coverage.complete);
  ok(run.summary.objects[0].count > 10, `it found ${run.summary.objects[0].count} nuclei`);
  return run;
}

/** Runtimes round some probabilities otherwise, which may join or part one pair of nuclei. */
function sameNuclei(found: number, expected: number): void {
  ok(Math.abs(found - expected) <= 1, `it found ${found} nuclei instead of ${expected}`);
}

/** The page of a finished run, and the runtime that the package does not hold itself. */
async function view(project: Project): Promise<void> {
  const server = project.start("view", "native", "--port", "0");
  try {
    const url = new URL(await server.says(/(http:\/\/\S+)/));
    const page = await fetch(url);
    equal(page.status, 200);
    match(await page.text(), /<script type="module"/);
    const runtime = await fetch(new URL("/assets/ort-wasm-simd-threaded-x.wasm", url));
    equal(runtime.status, 200);
    ok((await runtime.arrayBuffer()).byteLength > 10e6);
  } finally {
    await server.stop();
  }
}

async function throughRunner(project: Project, slide: string, nuclei: number): Promise<void> {
  for (const provider of ["wasm", "cpu"]) {
    const server = project.start("runner", "--port", "0", "--execution-provider", provider);
    try {
      const url = await server.says(/runner at (http:\/\/127\.0\.0\.1:\d+)/);
      const out = `runner-${provider}`;
      project.tilewright("segment", slide, "--backend", `runner:${url}`, "--out", out);
      const run = JSON.parse(readFileSync(join(project.directory, out, "run.json"), "utf8"));
      sameNuclei(run.summary.objects[0].count, nuclei);
    } finally {
      await server.stop();
    }
  }
}

/** The service of the package's own Workers gives what `segment --like-service` gives, byte for byte. */
async function throughService(project: Project, slide: string): Promise<void> {
  const server = project.start("up", "--port", "0", "--data-dir", "state");
  try {
    const url = await server.says(/is up at (http:\/\/127\.0\.0\.1:\d+)/);
    const token = await server.says(/TILEWRIGHT_TOKEN=(\S+)/);
    equal((await fetch(`${url}/healthz`)).status, 200);
    const page = await (await fetch(url)).text();
    const [, script] = /<script type="module"[^>]* src="([^"]+)"/.exec(page)!;
    equal((await fetch(new URL(script!, url))).status, 200);
    project.tilewright("upload", slide, "--server", url, "--token", token, "--watch", "--out", "service");
  } finally {
    await server.stop();
  }
  project.tilewright("segment", slide, "--like-service", "--out", "like-service");
  const outputs = (name: string) =>
    JSON.parse(readFileSync(join(project.directory, name, "run.json"), "utf8")).outputs;
  deepEqual(outputs("service"), outputs("like-service"));
}

function refuseOldNode(tarball: string): void {
  const project = new Project(join(directory, "old"), TOO_OLD);
  project.npm("install", tarball);
  const { status, stderr } = project.fails("segment", "slide.svs", "--out", "out");
  match(
    stderr,
    /^tilewright: Node 20\.\S+ is too old, Tilewright needs 22\.13 or newer: install it from \S+\n$/,
  );
  equal(status, 2);
}
