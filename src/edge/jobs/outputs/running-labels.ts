import { createRoute, z } from "@hono/zod-openapi";
import { labelMapInfo } from "../../../orchestrator/label-map.ts";
import { blocksOfChunks } from "../../../orchestrator/map/merge-block.ts";
import { labelStoreIsOutput } from "../../../orchestrator/run/finish-job.ts";
import { HttpError } from "../../../service/http-error.ts";
import { jobKeys } from "../../shared/job-keys.ts";
import { getLedger } from "../../shared/ledger-port.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import { readPlan } from "../../shared/read-plan.ts";
import { resultsStore } from "../../shared/results-store.ts";
import type { Bindings } from "../context/bindings.ts";
import { getConfiguredModel } from "../context/configured-model.ts";
import { JOB_ID } from "./output-path.ts";

const count = z.int().nonnegative();
const numbers = z.array(z.number());

/** What a viewer needs to place the merged chunks of a running job on its image. */
const runningLabelsSchema = z
  .object({
    shape: z.array(count),
    chunk: z.array(count),
    spacing: z.object({ values: numbers, unit: z.string() }).optional(),
    placement: z.object({ origin: numbers, downsample: numbers }),
    classes: z.array(z.object({ name: z.string(), color: z.string() })),
    blockChunks: z.array(count).openapi({ description: "Chunks of a block along each axis." }),
    merged: z
      .array(count)
      .openapi({ description: "Blocks that are merged, by their number in raster order." }),
  })
  .openapi("RunningLabels");

const showLabels = createRoute({
  method: "get",
  path: "/v1/jobs/{id}/labels",
  summary: "Label map of a running job: its place, and which blocks of chunks are merged",
  request: { params: z.object({ id: z.string() }) },
  responses: {
    200: jsonContent(runningLabelsSchema, "The label map so far."),
    404: errorContent("The job does not exist, is not planned yet, has ended, or is a volume."),
  },
});

/** Chunks of jobs that are still running. They are the same bytes as in `labels.ome.zarr` of the finished job. */
export function createRunningLabelRoutes() {
  const app = createOpenApiApp<{ Bindings: Bindings }>();

  app.openapi(showLabels, async (c) => {
    const job = c.req.valid("param").id;
    const { plan } = await readRunningPlan(c.env, job);
    const { manifest } = await getConfiguredModel(c.env);
    const { shape, chunk, spacing, placement, classes } = labelMapInfo(manifest, plan);
    c.header("Cache-Control", "no-store");
    return c.json(
      {
        shape: [...shape],
        chunk: [...chunk],
        ...(spacing && { spacing: { values: [...spacing.values], unit: spacing.unit } }),
        placement: { origin: [...placement.origin], downsample: [...placement.downsample] },
        classes: classes.map(({ name, color }) => ({ name, color })),
        blockChunks: [...blocksOfChunks(plan).size],
        merged: await getLedger(c.env.LEDGERS!, job).doneIds("merge"),
      },
      200,
    );
  });

  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/v1/jobs/{id}/labels/{row}/{column}",
    summary: "A merged chunk of a running job: one byte per label, row by row, compressed with gzip",
    request: { params: z.object({ id: z.string(), row: z.string(), column: z.string() }) },
    responses: {
      200: { description: "The chunk.", content: { "application/octet-stream": { schema: z.any() } } },
      404: errorContent("The chunk is not merged, or has no window, or the job has ended."),
    },
  });
  app.get("/v1/jobs/:id/labels/:row{[0-9]{1,6}}/:column{[0-9]{1,6}}", async (c) => {
    const { id, row, column } = c.req.param();
    const { plan } = await readRunningPlan(c.env, id);
    // Of a region, the label map is cropped when the job is finished.
    const keys = labelStoreIsOutput(plan) ? jobKeys.results(id) : jobKeys.work(id);
    const key = `${keys}labels.ome.zarr/0/c/${Number(row)}/${Number(column)}`;
    const chunk = await resultsStore(c.env.RESULTS!).get(key);
    if (chunk === undefined) throw new HttpError(404, "not_found", "this chunk is not there, or not yet");
    return new Response(chunk.bytes as Uint8Array<ArrayBuffer>, {
      headers: {
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store, no-transform",
      },
    });
  });
  return app;
}

/** @throws {HttpError} 404 if the job has no label map that can be read while it runs */
async function readRunningPlan(env: Bindings, job: string) {
  const none = (why: string) => new HttpError(404, "no_labels", why);
  const status = JOB_ID.test(job) ? await getLedger(env.LEDGERS!, job).status() : undefined;
  if (status === undefined) throw none("there is no such job");
  if (status.windows === undefined) throw none(`the job has no label map yet: it is ${status.state}`);
  const planned = await readPlan(env.RESULTS!, job).catch((error: unknown) => {
    if (!(error instanceof RangeError)) throw error;
    throw none(`the job is ${status.state}: its results are under /outputs`);
  });
  if (planned.plan.region.size.length !== 2)
    throw none("only label maps of 2-D images can be followed: wait for the results of this job");
  return planned;
}
