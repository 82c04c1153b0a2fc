import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Stack, startStack } from "../../src/cli/stack/local-stack.ts";
import { MAX_ROWS_A_REQUEST, type RemoteCohortStatus } from "../../src/contracts/cohort-request.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { JOBS_BINDINGS, SEGMENT_BINDINGS, Service, until } from "./service.ts";

let directory: string;
let stack: Stack;
let service: Service;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-cohort-missing-"));
  stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model: writePointwisePackage(join(directory, "pointwise")),
    jobs: JOBS_BINDINGS,
    segment: SEGMENT_BINDINGS,
  });
  service = new Service(stack.url);
}, 180_000);
afterAll(async () => {
  await stack?.stop();
  rmSync(directory, { recursive: true, force: true });
});

it.each([
  [1, 3000, {}],
  [1, 1000, { largestFirst: true }],
  [15, 100, {}],
])(
  "%i cohorts of %i missing sources do not block others, with %j",
  async (cohorts, length, limits) => {
    const ids: string[] = [];
    for (let n = 0; n < cohorts; n++) {
      const opened = await service.post("/v1/cohorts", { limits });
      ids.push(((await opened.json()) as RemoteCohortStatus).id);
    }
    const rows = Array.from({ length }, (_, n) => ({
      id: `s${n}`,
      source: `r2://tilewright-scans/none/${n}.tiff`,
    }));
    for (let at = 0; at < rows.length; at += MAX_ROWS_A_REQUEST) {
      const some = rows.slice(at, at + MAX_ROWS_A_REQUEST);
      const added = await Promise.all(
        ids.map((id) => service.post(`/v1/cohorts/${id}/rows`, { rows: some })),
      );
      for (const { status } of added) expect(status).toBe(200);
    }
    const waits: number[] = [];
    await until(async () => {
      const started = performance.now();
      expect((await service.fetch("/healthz")).status).toBe(200);
      waits.push(performance.now() - started);
      for (const id of ids) {
        const status = (await (await service.fetch(`/v1/cohorts/${id}`)).json()) as RemoteCohortStatus;
        if (status.rows.failed < length) return undefined;
      }
      return true;
    }, 200);
    if (process.env.STACK_LOG) console.error(Math.max(...waits), waits.length);
    // All of them, not a few.
    expect(waits.length).toBeGreaterThan(5);
    expect(Math.max(...waits)).toBeLessThan(5000);
  },
  240_000,
);
