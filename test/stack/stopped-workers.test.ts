import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Stack, startStack } from "../../src/cli/stack/local-stack.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { JOBS_BINDINGS, Service, TOKEN, until } from "./service.ts";

const STALL_SECONDS = 2;
const pause = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

let directory: string;
let stack: Stack;
let service: Service;
let slide: string;
let runtime: number[] = [];
const logged: string[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-stopped-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 420, height: 300 }).path;
  stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model: writePointwisePackage(join(directory, "pointwise")),
    shards: "pull",
    jobs: { ...JOBS_BINDINGS, STALL_SECONDS: String(STALL_SECONDS) },
    segment: { TOKEN },
    hungMs: 6000,
    onRuntime: (pids) => {
      runtime = pids;
    },
    log: (line) => logged.push(line),
  });
  service = new Service(stack.url);
}, 180_000);
afterAll(async () => {
  await stack?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** A job whose shards only this test processes. */
async function start(name: string): Promise<string> {
  const upload = await service.upload(slide, name, { model: "pointwise" });
  const id = await service.jobOf(upload.id);
  await until(async () => ((await service.job(id)).state === "mapping" ? true : undefined));
  return id;
}

async function tell(id: string, event: object): Promise<boolean> {
  const response = await service.post(`/v1/work/${id}/shards/0`, event);
  if (response.status !== 200) throw new Error(await response.text());
  return ((await response.json()) as { run: boolean }).run;
}

const take = (id: string) => tell(id, { event: "take" });

describe("a task", () => {
  it("that stops its worker three times fails its job, with a reason", async () => {
    const id = await start("stops.tiff");
    let stopped = 0;
    // Claims without a report.
    while (await take(id)) {
      stopped++;
      // A duplicate message claims twice, which stops no worker.
      expect(await take(id)).toBe(true);
      await pause(STALL_SECONDS + 0.5);
      expect(stopped).toBeLessThan(8);
    }
    expect(stopped).toBeGreaterThanOrEqual(3);
    const { state, error } = await service.job(id);
    expect(state).toBe("failed");
    expect(error!.code).toBe("task_stopped");
    expect(error!.message).toMatch(/^shard 0 stopped its worker 3 times without an error: /);
  }, 300_000);

  it("that reports its error keeps all its attempts", async () => {
    const id = await start("fails.tiff");
    for (let n = 0; n < 6; n++) {
      expect(await take(id)).toBe(true);
      await tell(id, { event: "tried", message: "the network is down" });
      await pause(STALL_SECONDS + 0.5);
    }
    expect((await service.job(id)).state).toBe("mapping");
  }, 300_000);

  it("that sends heartbeats is not dispatched again", async () => {
    const id = await start("slow.tiff");
    expect(await take(id)).toBe(true);
    for (let n = 0; n < 8; n++) {
      await tell(id, { event: "alive" });
      await pause(STALL_SECONDS / 2);
    }
    for (let n = 0; n < 3; n++) expect(await take(id)).toBe(true);
    expect((await service.job(id)).state).toBe("mapping");
  }, 300_000);
});

it("a workerd that hangs is restarted, and keeps its jobs", async () => {
  const id = await start("hangs.tiff");
  const [pid] = runtime;
  process.kill(pid!, "SIGSTOP");
  await until(async () => (runtime.length === 1 && runtime[0] !== pid ? true : undefined), 60);
  await until(async () => ((await service.fetch("/healthz")).status === 200 ? true : undefined), 60);
  expect(
    logged.filter((line) => line.includes(`workerd (process ${pid}) has not answered for`)),
  ).toHaveLength(1);
  expect((await service.job(id)).state).toBe("mapping");
}, 150_000);
