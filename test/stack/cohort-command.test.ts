import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bundles, bundleWorkers } from "../../src/cli/stack/local-stack.ts";
import type { RemoteCohortStatus } from "../../src/contracts/cohort-request.ts";
import { RunDirectory } from "../../src/local/run-directory.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { makeSlides, readTable, writeManifest } from "../cohort/make-cohort.ts";
import { KillableStack } from "./killable-stack.ts";
import { TOKEN, until } from "./service.ts";

/** The command `cohort` with `--server`, against a service that may be killed at any time. */
const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
let directory: string;
let bundles: Bundles;
let model: string;
let manifest: string;
let port: number;
let stack: KillableStack;
let expected: Record<string, string>[];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-cohort-command-"));
  ({ model } = makeSlides(directory, 5, { width: 900 }));
  const rows = Array.from({ length: 5 }, (_, i) => `p${i},s${i}.tiff,v${i}`);
  writeFileSync(join(directory, "text.tiff"), "no image at all, ".repeat(100));
  manifest = writeManifest(join(directory, "m.csv"), [
    "id,source,note",
    ...rows,
    "gone,none.tiff,x",
    "bad,text.tiff,y",
  ]);
  const here = join(directory, "here");
  const args = ["--model", model, "--no-tissue-mask", "--backend", "wasm", "--out", here];
  expect((await run(["run", manifest, ...args])).code).toBe(7);
  expected = lasting(here);
  bundles = await bundleWorkers();
  port = await freePort();
  await startStack();
}, 180_000);
afterAll(async () => {
  await stack?.kill();
  await bundles?.remove();
  rmSync(directory, { recursive: true, force: true });
});

async function startStack(): Promise<void> {
  stack = await KillableStack.start(join(directory, "state"), model, bundles, { port });
}

/** A free port, so that the service can restart on the same address. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function start(args: readonly string[], token: string | undefined = TOKEN) {
  const { TILEWRIGHT_TOKEN: _, ...environment } = process.env;
  const child = spawn(process.execPath, [MAIN, "cohort", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...environment,
      XDG_STATE_HOME: join(directory, "home"),
      ...(token && { TILEWRIGHT_TOKEN: token }),
    },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (bytes) => {
    stdout += bytes;
  });
  child.stderr.on("data", (bytes) => {
    stderr += bytes;
  });
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, stdout, stderr })),
  );
  return { child, ended, said: () => stderr };
}

const run = (args: readonly string[], token?: string) => start(args, token).ended;
const toService = (out: string, cohort = manifest) => [
  "run",
  cohort,
  "--server",
  `http://127.0.0.1:${port}`,
  "--model",
  model,
  "--no-tissue-mask",
  "--out",
  out,
];

/** The table without columns of time, cost and place. */
function lasting(out: string): Record<string, string>[] {
  return readTable(out).map(
    ({ job, seconds, bytes_read, bytes_written, cost_usd, forecast_usd, ...kept }) => kept,
  );
}

const serviceOf = (out: string) =>
  (JSON.parse(readFileSync(join(out, "cohort.json"), "utf8")) as { service: { cohort: string } }).service;

async function statusOf(out: string): Promise<RemoteCohortStatus> {
  const answer = await stack.service.fetch(`/v1/cohorts/${serviceOf(out).cohort}`);
  return (await answer.json()) as RemoteCohortStatus;
}

describe("a cohort at a service", () => {
  it("gives the table of one machine, downloads requested outputs, and never stores the token", {
    timeout: 180_000,
  }, async () => {
    const out = join(directory, "there");
    const { code, stdout, stderr } = await run(toService(out));
    expect(code, stderr).toBe(7);
    expect(stdout).toMatch(/5 of 7 done, 2 failed; \d+ windows, .* used, forecast /);
    expect(lasting(out)).toEqual(expected);
    expect(existsSync(join(out, "report.html"))).toBe(true);
    const texts = ["cohort.json", "journal.jsonl", "report.html"].map((f) =>
      readFileSync(join(out, f), "utf8"),
    );
    expect(texts.join("")).not.toContain(TOKEN);

    // A repeated run uploads nothing, runs nothing, and downloads only new outputs.
    const before = await statusOf(out);
    const again = await run([...toService(out), "--download", "all"]);
    expect(again.code, again.stderr).toBe(7);
    expect(again.stderr).not.toContain("uploading");
    expect(await statusOf(out)).toMatchObject({ rows: before.rows, spentUsd: before.spentUsd });
    const job = readTable(out).find((row) => row.status === "done")!.job!;
    expect(readdirSync(join(out, "jobs", job))).toContain("labels.ome.zarr");
    expect(lasting(out)).toEqual(expected);

    const asked = await run(["status", out, "--json"]);
    expect(JSON.parse(asked.stdout)).toMatchObject({
      state: "done",
      scans: 7,
      rows: { total: 6, done: 5, failed: 1 },
      failures: [{ id: "bad", code: "unreadable" }],
    });
    expect((await run(["status", out])).stdout).toMatch(
      /^5 of 7 done, 1 failed, 0 under way, 0 to do, 1 not sent; done/,
    );
    const refused = await run(["status", out], "not-the-token-of-this-service");
    expect(refused.code).toBe(6);
    expect(refused.stderr).toContain("the bearer token is missing or wrong");
  });

  it("accepts more rows and corrected ones, and reuses results of other cohorts", {
    timeout: 180_000,
  }, async () => {
    const out = join(directory, "more");
    const more = join(directory, "more.csv");
    writeManifest(more, ["id,source", "a,s0.tiff", "late,late.tiff"]);
    expect((await run(toService(out, more))).code).toBe(7);
    expect(readTable(out).map((row) => row.code)).toEqual(["", "missing"]);
    writeMadeSlide(join(directory, "late.tiff"), { width: 300, height: 200 });
    writeManifest(more, ["id,source", "a,s0.tiff", "late,late.tiff", "b,s1.tiff"]);
    const { code, stderr } = await run(toService(out, more));
    expect(code, stderr).toBe(0);
    expect(readTable(out).map((row) => row.status)).toEqual(["done", "done", "done"]);
    // A replaced file is another scan.
    const first = readTable(out)[1]!;
    writeMadeSlide(join(directory, "late.tiff"), { width: 400, height: 300 });
    expect((await run(toService(out, more))).code).toBe(0);
    const second = readTable(out)[1]!;
    expect([second.status, second.job === first.job]).toEqual(["done", false]);
    expect(Number(second.windows)).toBeGreaterThan(Number(first.windows));
    // So is another pixel size.
    const b = readTable(out)[2]!;
    writeManifest(more, ["id,source,mpp", "a,s0.tiff,", "late,late.tiff,", "b,s1.tiff,0.3"]);
    expect((await run(toService(out, more))).code).toBe(0);
    expect(readTable(out).map((row) => row.mpp_um)).toEqual([second.mpp_um, second.mpp_um, "0.3"]);
    expect(readTable(out)[2]!.job).not.toBe(b.job);
  });

  it("has one job for rows with the same scan, downloads and pays for it once", {
    timeout: 180_000,
  }, async () => {
    const out = join(directory, "twins");
    const twins = join(directory, "twins.csv");
    writeMadeSlide(join(directory, "twin.tiff"), { width: 700, height: 330 });
    const readers = Array.from({ length: 6 }, (_, i) => `r${i},twin.tiff,reader ${i}`);
    writeManifest(twins, ["id,source,reader", ...readers]);
    const { code, stderr } = await run(toService(out, twins));
    expect(code, stderr).toBe(0);
    const table = readTable(out);
    expect(table.map((row) => row.status)).toEqual(new Array(6).fill("done"));
    expect(new Set(table.map((row) => row.job)).size).toBe(1);
    expect((await statusOf(out)).spentUsd).toBeCloseTo(Number(table[0]!.cost_usd), 9);

    // Where another run holds the results, the scan is postponed and others continue.
    const { job } = table[0]!;
    const place = join(out, "jobs", job!);
    rmSync(place, { recursive: true });
    const other = RunDirectory.open(place, job!, { resume: true }) as RunDirectory;
    const busy = await run(toService(out, twins));
    other.release();
    expect(busy.code, busy.stderr).toBe(7);
    expect(new Set(readTable(out).map((row) => row.code))).toEqual(new Set(["busy"]));
    const free = await run(toService(out, twins));
    expect(free.code, free.stderr).toBe(0);
    expect(lasting(out)).toEqual(
      table.map(({ job, seconds, bytes_read, bytes_written, cost_usd, forecast_usd, ...kept }) => kept),
    );
  });

  it("waits for a higher spend limit without failures, and continues with it", {
    timeout: 180_000,
  }, async () => {
    const out = join(directory, "spend");
    const copies = join(directory, "spend.csv");
    for (let i = 0; i < 3; i++)
      writeMadeSlide(join(directory, `paid${i}.tiff`), { width: 300, height: 210 + i });
    writeManifest(copies, ["source", "paid0.tiff", "paid1.tiff", "paid2.tiff"]);
    const first = await run([...toService(out, copies), "--max-cost", "0.000000001"]);
    expect(first.code, first.stderr).toBe(7);
    expect(first.stderr).toMatch(/paused with 2 scans to do: .* raise spendLimitUsd/);
    expect(readTable(out).filter((row) => row.status === "done")).toHaveLength(1);
    expect(readTable(out).filter((row) => row.status === "failed")).toHaveLength(0);
    expect((await run(["status", out])).stdout).toContain("raise spendLimitUsd");
    const second = await run([...toService(out, copies), "--max-cost", "1"]);
    expect(second.code, second.stderr).toBe(0);
    expect(readTable(out).map((row) => row.status)).toEqual(["done", "done", "done"]);
  });

  it("can be cancelled and continued, retried, and exported", { timeout: 240_000 }, async () => {
    const out = join(directory, "cancelled");
    const large = join(directory, "large.csv");
    for (let i = 0; i < 3; i++)
      writeMadeSlide(join(directory, `large${i}.tiff`), { width: 2600, height: 1700 + i });
    writeManifest(large, ["source", "large0.tiff", "large1.tiff", "large2.tiff", "text.tiff"]);
    const first = start([...toService(out, large), "--parallel-slides", "1"]);
    await until(async () => (/large0.tiff: \d+ windows/.test(first.said()) ? true : undefined), 90);
    expect((await run(["cancel", out])).code).toBe(0);
    const stopped = await first.ended;
    expect(stopped.code, stopped.stderr).toBe(7);
    expect(stopped.stderr).toContain("was cancelled with");
    const some = readTable(out).map((row) => row.status);
    expect(some.filter((status) => status === "pending").length).toBeGreaterThanOrEqual(1);
    expect(await statusOf(out)).toMatchObject({ state: "cancelled", rows: { running: 0 } });

    // After Ctrl-C the service continues; export downloads the finished results.
    const second = start([...toService(out, large), "--parallel-slides", "3"]);
    await until(async () => (second.said().includes("to do") ? true : undefined), 60);
    await until(async () => ((await statusOf(out)).state === "running" ? true : undefined));
    second.child.kill("SIGINT");
    expect((await second.ended).code).toBe(130);
    await until(async () => {
      const { rows } = await statusOf(out);
      return rows.total === 4 && rows.pending + rows.running === 0 ? true : undefined;
    }, 120);
    const exported = await run(["export", out, "--json"]);
    expect(JSON.parse(exported.stdout), exported.stderr).toMatchObject({ rows: 4, done: 3, failed: 1 });
    expect(readTable(out).map((row) => row.status)).toEqual(["done", "done", "done", "failed"]);
    const retried = await run(["retry", out, "--id", "text.tiff"]);
    expect(retried.code, retried.stderr).toBe(7);
    expect((await run(["retry", out, "--id", "nobody"])).stderr).toContain('no scan "nobody"');

    const removed = await run(["remove", out, "--results"]);
    expect(removed.stdout, removed.stderr).toContain("deleted the cohort and the results of 4 jobs");
    const gone = await run(["status", out]);
    expect([gone.code, gone.stderr]).toEqual([6, expect.stringContaining("there is no such cohort")]);
    expect(readTable(out).map((row) => row.status)).toEqual(["done", "done", "done", "failed"]);
    // Retried scans are segmented again.
    const again = await run(toService(out, large));
    expect(again.code, again.stderr).toBe(7);
    expect(again.stderr).toMatch(/large0.tiff: \d+ windows/);
  });

  it.each([[[0.4, 1.5]], [[2.5]], [[4, 0.2]]])(
    "ends with the same table when its service is killed after %j s, and repeats no job",
    { timeout: 240_000 },
    async (moments) => {
      // Other pixels, so that no results exist yet.
      const name = `killed-${moments.join("-")}`;
      const cohort = join(directory, `${name}.csv`);
      const sizes = [0, 1, 2, 3].map((i) => ({
        width: 1100 + 10 * i,
        height: 600 + Math.round(moments[0]! * 10),
      }));
      const made = sizes.map((size, i) => {
        writeMadeSlide(join(directory, `${name}-${i}.tiff`), size);
        return `k${i},${name}-${i}.tiff`;
      });
      writeManifest(cohort, ["id,source", ...made, "gone,none.tiff"]);
      const here = join(directory, `${name}-here`);
      const alone = ["--model", model, "--no-tissue-mask", "--backend", "wasm", "--out", here];
      expect((await run(["run", cohort, ...alone])).code).toBe(7);
      const out = join(directory, `${name}-there`);
      const client = start(toService(out, cohort));
      await until(async () => (client.said().includes("scans of the manifest") ? true : undefined), 60);
      for (const seconds of moments) {
        await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
        await stack.kill();
        await startStack();
      }
      // The client waited for the service, or failed and is started again.
      let { code, stderr } = await client.ended;
      if (code === 6) ({ code, stderr } = await run(toService(out, cohort)));
      expect(code, stderr).toBe(7);
      expect(lasting(out)).toEqual(lasting(here));
      const { rows, spentUsd } = await statusOf(out);
      expect(rows).toMatchObject({ total: 4, done: 4 });
      const costs = readTable(out).reduce((sum, row) => sum + Number(row.cost_usd), 0);
      expect(spentUsd).toBeCloseTo(costs, 9);
    },
  );

  it("continues with the same command when its client is killed", { timeout: 180_000 }, async () => {
    const out = join(directory, "client");
    const cohort = join(directory, "client.csv");
    for (let i = 0; i < 3; i++)
      writeMadeSlide(join(directory, `client${i}.tiff`), { width: 900, height: 310 + i });
    writeManifest(cohort, ["source", "client0.tiff", "client1.tiff", "client2.tiff"]);
    for (const event of ["uploading", "to do)"]) {
      const client = start(toService(out, cohort));
      await until(async () => (client.said().includes(event) ? true : undefined), 60, 20);
      client.child.kill("SIGKILL");
      await client.ended;
    }
    const { code, stderr } = await run(toService(out, cohort));
    expect(code, stderr).toBe(0);
    expect((await statusOf(out)).rows).toMatchObject({ total: 3, done: 3 });
    expect(readTable(out).map((row) => row.status)).toEqual(["done", "done", "done"]);
  });
});

describe("what a service does not support", () => {
  it("is rejected with a sentence before anything is sent", { timeout: 300_000 }, async () => {
    const out = join(directory, "refused");
    const masked = join(directory, "masked.csv");
    writeManifest(masked, ["source,mask", "s0.tiff,", "s1.tiff,m.png"]);
    const cases: [string[], RegExp][] = [
      [toService(out, masked), /line 3: masks are for runs on this machine/],
      [[...toService(out), "--backend", "wasm"], /--backend is for runs on this machine/],
      [[...toService(out), "--mask", "m.png"], /--mask is for runs on this machine/],
      [["run", manifest, "--model", model, "--out", out, "--max-cost", "3"], /--max-cost needs --server/],
      [[...toService(out), "--variant", "none"], /none/],
    ];
    for (const [args, sentence] of cases) {
      const { code, stderr } = await run(args);
      expect(stderr).toMatch(sentence);
      expect(code).toBeGreaterThanOrEqual(2);
    }
    expect(existsSync(out)).toBe(false);
  });

  it("a wrong address or token leaves the directory unbound", { timeout: 300_000 }, async () => {
    const out = join(directory, "mistyped");
    const free = await freePort();
    const away = await run([...toService(out), "--server", `http://127.0.0.1:${free}`]);
    expect(away.stderr).toMatch(/cannot reach 127\.0\.0\.1/);
    expect(away.code).toBe(6);
    const strange = await run(toService(out), "not-the-token-of-this-service");
    expect(strange.stderr).toContain("the bearer token is missing or wrong");
    expect(existsSync(out)).toBe(false);
  });

  it("keeps cohorts of a service, of this machine, and of other settings apart", async () => {
    const there = join(directory, "there");
    const local = await run(["run", manifest, "--model", model, "--out", there]);
    expect(local.stderr).toMatch(/holds a cohort of the service .* continue with --server/);
    expect(local.code).toBe(5);
    const other = await run([...toService(there), "--overlap", "0.5"]);
    expect(other.stderr).toMatch(/another model or other settings/);
    const elsewhere = await run([...toService(there), "--server", "http://127.0.0.1:1"]);
    expect(elsewhere.stderr).toMatch(/holds a cohort of the service/);
    const here = await run(toService(join(directory, "here")));
    expect(here.stderr).toMatch(/holds a cohort of this machine/);
  });
});
