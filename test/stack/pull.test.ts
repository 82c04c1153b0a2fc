import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { Runner } from "../../gpu-runner/start.ts";
import {
  type Bundles,
  bundleWorkers,
  PULL_PATH,
  type Stack,
  startStack,
} from "../../src/cli/stack/local-stack.ts";
import { upload } from "../../src/client/upload.ts";
import { decodePlannedJob } from "../../src/contracts/job-plan-message.ts";
import { PLANE_OUTPUTS } from "../../src/image/output-targets.ts";
import { segment } from "../../src/index.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import type { ModelPackage } from "../../src/model-package/load-package.ts";
import { planShards } from "../../src/tiling/grid/shards.ts";
import { encodeMaskBatch, MASK_BATCH_TYPE } from "../../src/tiling/wire/mask-batch.ts";
import { makeSlideLevel } from "../builders/dicom-slide.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";
import { type Log, runRunner } from "../gpu-runner/run-runner.ts";
import { JOBS_BINDINGS, READ_TOKEN, Service, TOKEN, until } from "./service.ts";

/** The job service in workerd without an edge function: runners pull the shards. */
let directory: string;
let bundles: Bundles;
let stack: Stack;
let service: Service;
let slide: string;
let packageDirectory: string;
let model: ModelPackage;
let expected: Record<string, string>;
const runners: Runner[] = [];
const children: ChildProcess[] = [];

const outputs = PLANE_OUTPUTS.filter((name) => !name.startsWith("instances") && name !== "labels.seg.dcm");

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-pull-"));
  slide = writeMadeSlide(join(directory, "Erika Mustermann.tiff"), { width: 2300, height: 1700 }).path;
  packageDirectory = writePointwisePackage(join(directory, "pointwise"));
  model = await loadModel(packageDirectory);
  const out = join(directory, "alone");
  await segment({ source: slide, model: packageDirectory, out, outputs });
  expected = treeHashes(out);
  bundles = await bundleWorkers("pull");
  stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model: packageDirectory,
    bundles,
    shards: "pull",
    jobs: JOBS_BINDINGS,
    segment: { TOKEN },
  });
  service = new Service(stack.url);
}, 180_000);
afterEach(async () => {
  await Promise.all(runners.splice(0).map((runner) => runner.stop()));
  for (const child of children.splice(0)) child.kill("SIGKILL");
});
afterAll(async () => {
  await stack?.stop();
  await bundles?.remove();
  rmSync(directory, { recursive: true, force: true });
});

const pull = () => ({
  queue: new URL(PULL_PATH, stack.url).href,
  queueToken: TOKEN,
  service: stack.url.href,
  serviceToken: TOKEN,
});

/** A job that no other test requests. */
let precisions = 0;
async function start(): Promise<string> {
  const upload = await service.upload(slide, `slide-${precisions++}.tiff`, { model: "pointwise", outputs });
  return service.jobOf(upload.id);
}

async function finished(id: string): Promise<Record<string, string>> {
  const job = await service.ended(id, 120);
  expect(job.error).toBeUndefined();
  expect(job.state).toBe("done");
  expect(job.windows!.done).toBe(job.windows!.total);
  const out = join(directory, `out-${id}`);
  await service.download(id, out);
  return treeHashes(out);
}

/** All outputs but those that contain the source's name. */
function unnamed(hashes: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(hashes).filter(([name]) => !/objects|measurements/.test(name)));
}

describe("a runner that pulls shards", () => {
  it("gives the bytes of one machine, and logs no file name", async () => {
    const { log } = await startRunnerHere();
    const id = await start();
    const hashes = await finished(id);
    expect(unnamed(hashes)).toEqual(unnamed(expected));
    const run = JSON.parse(readFileSync(join(directory, `out-${id}`, "run.json"), "utf8"));
    expect(run.backends[0].runtime).toMatch(/cpu \(runner\)$/);
    expect(log.lines.filter((line) => line.includes("a shard is done")).length).toBe(run.plan.shards);
    expect(log.lines.join("")).not.toMatch(/slide-\d|Mustermann/);
  });

  it("shares the work with others, one of which is killed", async () => {
    const victim = startRunnerProcess();
    const id = await start();
    await until(async () => ((await service.job(id)).shards?.done ? true : undefined), 60, 5);
    victim.kill("SIGKILL");
    const { log } = await startRunnerHere();
    expect(unnamed(await finished(id))).toEqual(unnamed(expected));
    expect(log.lines.some((line) => line.includes("a shard is done"))).toBe(true);
  });

  it("returns shards that it has not started when it is stopped", async () => {
    const { runner } = await startRunnerHere();
    const id = await start();
    await until(async () => ((await service.job(id)).shards?.done ? true : undefined), 60, 5);
    await runner.stop();
    await startRunnerHere();
    expect(unnamed(await finished(id))).toEqual(unnamed(expected));
  });

  it("fails a job that was planned for another model, with a sentence", async () => {
    await startRunnerHere(await loadModel("nuclei"));
    const job = await service.ended(await start());
    expect(job).toMatchObject({ state: "failed", error: { code: "job_refused" } });
    expect(job.error!.message).toMatch(/the runner holds .* planned for pointwise/);
  });
});

describe("a source of many objects", () => {
  it("gives the bytes of one machine at a runner: a DICOM slide of three files", async () => {
    const path = join(directory, "folder");
    mkdirSync(path);
    for (const n of [1, 2, 4]) writeFileSync(join(path, `${n}.dcm`), makeSlideLevel(n, 900, 700));
    const alone = join(directory, "alone-folder");
    await segment({ source: path, model: packageDirectory, out: alone, outputs });
    await startRunnerHere();
    vi.stubEnv("XDG_STATE_HOME", join(directory, "state-home"));
    const server = stack.url.href;
    const { job } = await upload({ file: path, server, token: TOKEN, model: "pointwise", outputs });
    vi.unstubAllEnvs();
    expect(await finished(job)).toEqual(treeHashes(alone));
    expect(
      JSON.parse(readFileSync(join(directory, `out-${job}`, "run.json"), "utf8")).backends[0].runtime,
    ).toMatch(/\(runner\)$/);
    const { objects } = (await (await service.fetch(`/v1/work/${job}/objects`)).json()) as {
      objects: { key: string }[];
    };
    expect(objects.map(({ key }) => key)).toEqual(["folder/1.dcm", "folder/2.dcm", "folder/4.dcm"]);
    expect((await service.fetch(`/v1/work/${job}/source/folder`)).status).toBe(404);
    expect((await service.fetch(`/v1/work/${job}/source/folder/4.dcm`)).status).toBe(200);
  });
});

describe("the work routes", () => {
  let id: string;
  let shards: { id: number; windows: readonly number[] }[];
  let shape: number[];
  beforeAll(async () => {
    id = await start();
    await until(async () => ((await service.job(id)).shards ? true : undefined));
    const plan = await service.fetch(`/v1/work/${id}/plan`);
    const { plan: planned } = decodePlannedJob(new Uint8Array(await plan.arrayBuffer()));
    shards = [...planShards(planned.grid, planned.kept, planned.shardBlock)];
    shape = [3, ...planned.grid.window];
  });
  afterAll(async () => void (await service.fetch(`/v1/jobs/${id}`, { method: "DELETE" })));

  const records = (
    change: Partial<Parameters<typeof encodeMaskBatch>[0]> = {},
    windows = shards[0]!.windows,
  ) =>
    encodeMaskBatch({
      model: model.hash,
      variant: model.variantName,
      precision: "u8",
      shape,
      records: windows.map((window) => ({
        window,
        precision: "u8",
        data: new Uint8Array(shape.reduce((a, b) => a * b)),
      })),
      ...change,
    });
  const put = (body: Uint8Array<ArrayBuffer>, shard = shards[0]!.id, headers: Record<string, string> = {}) =>
    service.fetch(`/v1/work/${id}/shards/${shard}/records`, {
      method: "PUT",
      body,
      headers: { "Content-Type": MASK_BATCH_TYPE, ...headers },
    });

  it("need the scope work", async () => {
    for (const path of ["plan", "source/slide.tiff"]) {
      const answer = await service.fetch(`/v1/work/${id}/${path}`, {}, READ_TOKEN);
      expect(answer.status).toBe(403);
      expect((await service.fetch(`/v1/work/${id}/${path}`, {}, "no-token-of-this-service")).status).toBe(
        401,
      );
    }
  });

  it("send the source by range, and no other object", async () => {
    const { source } = await service.job(id);
    const name = source.uri.split("/").at(-1);
    const bytes = readFileSync(slide);
    const range = await service.fetch(`/v1/work/${id}/source/${name}`, {
      headers: { Range: "bytes=100-299" },
    });
    expect(range.status).toBe(206);
    expect(Buffer.from(await range.arrayBuffer())).toEqual(bytes.subarray(100, 300));
    const etag = range.headers.get("ETag")!;
    const same = await service.fetch(`/v1/work/${id}/source/${name}`, {
      headers: { Range: "bytes=0-9", "If-Match": etag },
    });
    expect(same.status).toBe(206);
    const other = await service.fetch(`/v1/work/${id}/source/${name}`, {
      headers: { Range: "bytes=0-9", "If-Match": '"another"' },
    });
    expect(other.status).toBe(412);
    const beyond = await service.fetch(`/v1/work/${id}/source/${name}`, {
      headers: { Range: `bytes=${bytes.length}-` },
    });
    expect(beyond.status).toBe(416);
    for (const path of [
      "other.tiff",
      `${name}/..%2f..`,
      "..%2fother",
      `${name}%2f..%2f..%2fx`,
      `${name}/none`,
    ]) {
      expect((await service.fetch(`/v1/work/${id}/source/${path}`)).status, path).toBe(404);
    }
  });

  it.each<[string, number, string, () => Promise<Response>]>([
    ["records of another model", 409, "wrong_records", () => put(records({ model: "f".repeat(64) }))],
    ["records of another shard", 409, "wrong_records", () => put(records(), shards[1]!.id)],
    ["records in part", 409, "wrong_records", () => put(records({}, shards[0]!.windows.slice(1)))],
    ["records of no shard", 404, "shard_missing", () => put(records(), 999_999)],
    ["what is no mask batch", 400, "bad_message", () => put(new Uint8Array(40))],
    [
      "another type",
      415,
      "wrong_type",
      () => put(records(), shards[0]!.id, { "Content-Type": "text/plain" }),
    ],
    [
      "a shard that is done without records",
      409,
      "records_missing",
      () => service.post(`/v1/work/${id}/shards/${shards[0]!.id}`, { event: "done", report: { windows: 1 } }),
    ],
    [
      "an unknown event",
      422,
      "bad_request",
      () => service.post(`/v1/work/${id}/shards/0`, { event: "dance" }),
    ],
    [
      "no job",
      404,
      "job_missing",
      () => service.post(`/v1/work/${"0".repeat(32)}/shards/0`, { event: "take" }),
    ],
  ])("reject %s", async (_, status, code, ask) => {
    const response = await ask();
    const body = (await response.json()) as { error: { code: string } };
    expect({ status: response.status, code: body.error.code }).toEqual({ status, code });
  });

  it("keep the first records of a shard", async () => {
    expect((await put(records())).status).toBe(204);
    expect((await put(records())).status).toBe(204);
    const take = async () => {
      const answer = await service.post(`/v1/work/${id}/shards/${shards[0]!.id}`, { event: "take" });
      return ((await answer.json()) as { run: boolean }).run;
    };
    expect(await take()).toBe(true);
    const done = { event: "done", report: { windows: shards[0]!.windows.length } };
    expect((await service.post(`/v1/work/${id}/shards/${shards[0]!.id}`, done)).status).toBe(200);
    expect(await take()).toBe(false);
  });
});

async function startRunnerHere(which = model): Promise<{ runner: Runner; log: Log }> {
  const { runner, log } = await runRunner(which, { pull: pull() });
  runners.push(runner);
  return { runner, log };
}

function startRunnerProcess(): ChildProcess {
  const { queue, service: to } = pull();
  const child = spawn(
    process.execPath,
    [
      "src/cli/main.ts",
      "runner",
      "--port",
      "0",
      "--model",
      packageDirectory,
      "--pull",
      queue,
      "--service",
      to,
    ],
    { env: { ...process.env, TILEWRIGHT_TOKEN: TOKEN }, stdio: "ignore" },
  );
  children.push(child);
  return child;
}
