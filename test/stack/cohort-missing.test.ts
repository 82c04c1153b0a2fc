import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Stack, startStack } from "../../src/cli/local-stack.ts";
import { type CloudCohortStatus, MAX_ROWS_A_REQUEST } from "../../src/orchestrator/cohort-request.ts";
import { writePointwisePackage } from "../made/pointwise-package.ts";
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
  [3000, {}],
  [1000, { largestFirst: true }],
])(
  "a cohort of %i sources that are not there lets others have their turn, with %j",
  async (length, limits) => {
    const opened = await service.post("/v1/cohorts", { limits });
    const { id } = (await opened.json()) as CloudCohortStatus;
    const rows = Array.from({ length }, (_, n) => ({
      id: `s${n}`,
      source: `r2://tilewright-scans/none/${n}.tiff`,
    }));
    for (let at = 0; at < rows.length; at += MAX_ROWS_A_REQUEST) {
      const some = rows.slice(at, at + MAX_ROWS_A_REQUEST);
      expect((await service.post(`/v1/cohorts/${id}/rows`, { rows: some })).status).toBe(200);
    }
    const waits: number[] = [];
    const end = await until(async () => {
      const started = performance.now();
      expect((await service.fetch("/healthz")).status).toBe(200);
      waits.push(performance.now() - started);
      const status = (await (await service.fetch(`/v1/cohorts/${id}`)).json()) as CloudCohortStatus;
      return status.rows.failed === rows.length ? status : undefined;
    }, 180);
    expect(end.rows).toMatchObject({ total: length, failed: length });
    // Not a few that were lucky.
    expect(waits.length).toBeGreaterThan(20);
    expect(Math.max(...waits)).toBeLessThan(5000);
    if (process.env.STACK_LOG) console.error(Math.max(...waits), waits.length);
  },
  240_000,
);
