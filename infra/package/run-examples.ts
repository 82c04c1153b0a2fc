import { equal, match, ok } from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { chromium } from "playwright-core";
import type { Project } from "./project.ts";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** What the examples need beside the package: their tools and types, of the versions that this repository tests with. */
const TOOLS = ["typescript", "vite", "wrangler", "@types/node"];
/** Other runtimes, from the npm registry. */
const RUNTIMES = ["deno", "bun"];

/** Runs every example in a project that has the package installed. */
export async function runExamples(project: Project, examples: string, slide: string): Promise<void> {
  cpSync(examples, project.directory, { recursive: true });
  const { devDependencies } = JSON.parse(readFileSync(join(examples, "../package.json"), "utf8"));
  const tools = TOOLS.map((name) => `${name}@${devDependencies[name]}`);
  project.npm("install", ...tools, ...RUNTIMES);
  // Strict, and with the declarations of the package and of all that they import checked too.
  project.run("tsc", "-p", "tsconfig.json");
  const said = project.run("node", "script/segment-file.ts", slide);
  match(said, /^360×480 pixels: \d+ background.*\n(nucleus at .*µm²\n){3}\d+ objects, seam score /);
  const nuclei = Number(/(\d+) objects/.exec(said)![1]);
  console.log(`example script: ${nuclei} nuclei`);
  equal(project.run("bun", "run", "script/segment-file.ts", slide), said);
  // In WebAssembly, which rounds some probabilities otherwise.
  const inDeno = project.run("deno", "run", "--allow-all", "script/segment-file.ts", slide);
  ok(Math.abs(Number(/(\d+) objects/.exec(inDeno)![1]) - nuclei) <= 1, inDeno);
  console.log("example script: the same in Deno and Bun");
  await inPage(project, slide);
  await inWorker(project, slide);
  const python = process.env.TILEWRIGHT_PYTHON;
  if (python) {
    project.tilewright("segment", slide, "--model", "nuclei", "--out", "for-python");
    match(project.run(python, "python/read_results.py", "for-python"), /objects, median area/);
    console.log("example python: read");
  } else console.log("example python: skipped, TILEWRIGHT_PYTHON is not set");
}

/** Builds the page with Vite and segments the slide in headless Chromium. */
async function inPage(project: Project, slide: string): Promise<void> {
  project.run("vite", "build", "page");
  const server = await serveFiles(join(project.directory, "page/dist"));
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(server.url);
    await page.setInputFiles("#file", slide);
    const status = page.locator("#status");
    await status
      .filter({ hasText: /nuclei in 480×360 pixels/ })
      .waitFor({ timeout: 120_000 })
      .catch(async () => {
        throw new Error(`the page says: ${await status.textContent()}; ${errors.join("; ")}`);
      });
    ok(Number.parseInt((await status.textContent())!, 10) > 10);
    console.log(`example page: ${await status.textContent()}`);
  } finally {
    await browser.close();
    server.close();
  }
}

/** Bundles the Worker as wrangler does and runs it in workerd. */
async function inWorker(project: Project, slide: string): Promise<void> {
  const models = await serveFiles(join(project.directory, "node_modules/tilewright/models"));
  const script = join(project.directory, "run-worker.mjs");
  writeFileSync(script, RUN_WORKER);
  const out = join(project.directory, "worker-out");
  try {
    project.run("wrangler", "deploy", "--dry-run", "--config", "worker/wrangler.toml", "--outdir", out);
    // Not with execFileSync, which would stop the server of the models.
    const child = project.spawn("node", "run-worker.mjs", out, `${models.url}nuclei/`, slide);
    const answer = JSON.parse(await child.says(/^(\{.*\})$/m));
    equal(answer.shape.join(), "360,480");
    ok(answer.objects.length > 10);
    console.log(`example worker: ${answer.objects.length} nuclei`);
    await child.stop();
  } finally {
    models.close();
  }
}

const RUN_WORKER = `
import { readdirSync, readFileSync } from "node:fs";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
const [directory, MODEL, slide] = process.argv.slice(2);
const names = readdirSync(directory).filter((name) => /\\.(js|wasm)$/.test(name)).sort((a, b) => b.endsWith(".js") - a.endsWith(".js"));
const modules = names.map((name) => ({
  type: name.endsWith(".js") ? "ESModule" : "CompiledWasm",
  path: directory + "/" + name,
  contents: new Uint8Array(readFileSync(directory + "/" + name)),
}));
const worker = new Miniflare(convertV4MiniflareOptions({
  host: "127.0.0.1", cf: false, modulesRoot: directory, modules, compatibilityDate: "2026-11-01", bindings: { MODEL },
}));
const answer = await worker.dispatchFetch("http://worker/", { method: "PUT", body: readFileSync(slide) });
console.log(await answer.text());
await worker.dispose();
`;

const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** Serves the files of a directory on loopback. */
async function serveFiles(directory: string): Promise<{ url: string; close(): void }> {
  const server = createServer((request, response) => {
    const path = new URL(request.url!, "http://x").pathname;
    try {
      const name = path.endsWith("/") ? `${path}index.html` : path;
      const bytes = readFileSync(join(directory, name));
      response.setHeader("Content-Type", TYPES[extname(name)] ?? "application/octet-stream");
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => void server.close(),
  };
}
