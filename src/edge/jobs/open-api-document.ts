import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Env } from "hono";
import { VERSION } from "../../orchestrator/version.ts";

const JOB = "3f2a9c0b5d7e41868a1c0d9e4b6f7a82";

/** Groups of routes, in the order of the page, by the first part of the path that they share. */
const TAGS: readonly { name: string; prefix: string; description: string }[] = [
  {
    name: "Jobs",
    prefix: "/v1/jobs",
    description: "One scan with one model: start, follow, cancel, delete.",
  },
  { name: "Results", prefix: "/v1/jobs/{id}/outputs", description: "Files of a job that is done." },
  { name: "Read links", prefix: "/v1/read", description: "Addresses for other programs." },
  { name: "Uploads", prefix: "/v1/uploads", description: "One file in parts, resumable." },
  { name: "Folders", prefix: "/v1/folders", description: "Scans of many files: DICOM series, OME-Zarr." },
  { name: "Cohorts", prefix: "/v1/cohorts", description: "Many scans with one request." },
  { name: "Webhooks", prefix: "/v1/webhooks", description: "Events of buckets, which start jobs." },
  { name: "Model", prefix: "/v1/model", description: "The model that jobs run." },
  { name: "Runners", prefix: "/v1/work", description: "What runners read and write." },
  { name: "Service", prefix: "/", description: "State of the service." },
];

/** Names of the operations: clients that are generated from the document call their functions so. */
const OPERATIONS: Readonly<Record<string, string>> = {
  "get /healthz": "getHealth",
  "get /v1/jobs": "listJobs",
  "post /v1/jobs": "createJob",
  "get /v1/jobs/{id}": "getJob",
  "delete /v1/jobs/{id}": "cancelJob",
  "delete /v1/jobs/{id}/data": "deleteJob",
  "post /v1/jobs/{id}/retry": "retryJob",
  "get /v1/jobs/{id}/labels": "getRunningLabels",
  "get /v1/jobs/{id}/labels/{row}/{column}": "getRunningLabelChunk",
  "get /v1/jobs/{id}/events": "followJob",
  "get /v1/jobs/{id}/read-link": "createReadLink",
  "get /v1/read/{job}/{expires}/{signature}/{path}": "readByLink",
  "get /v1/jobs/{id}/request": "getJobRequest",
  "get /v1/jobs/{id}/source": "listSourceKeys",
  "get /v1/jobs/{id}/source/{path}": "getSource",
  "get /v1/model": "getModel",
  "get /v1/model/files/{path}": "getModelFile",
  "get /v1/jobs/{id}/outputs": "listOutputs",
  "get /v1/jobs/{id}/outputs/{path}": "getOutput",
  "get /v1/cohorts": "listCohorts",
  "post /v1/cohorts": "createCohort",
  "get /v1/cohorts/{id}": "getCohort",
  "patch /v1/cohorts/{id}": "limitCohort",
  "delete /v1/cohorts/{id}": "deleteCohort",
  "get /v1/cohorts/{id}/rows": "listCohortRows",
  "post /v1/cohorts/{id}/rows": "addCohortRows",
  "post /v1/cohorts/{id}/retry": "retryCohort",
  "post /v1/cohorts/{id}/pause": "pauseCohort",
  "post /v1/cohorts/{id}/resume": "resumeCohort",
  "post /v1/cohorts/{id}/cancel": "cancelCohort",
  "post /v1/uploads": "createUpload",
  "get /v1/uploads/{id}": "getUpload",
  "get /v1/uploads/{id}/source/{path}": "getUploadSource",
  "delete /v1/uploads/{id}": "abortUpload",
  "put /v1/uploads/{id}/parts/{n}": "putUploadPart",
  "post /v1/uploads/{id}/complete": "completeUpload",
  "post /v1/folders": "createFolder",
  "get /v1/folders/{id}/files": "listFolderFiles",
  "put /v1/folders/{id}/files/{path}": "putFolderFile",
  "post /v1/folders/{id}/complete": "completeFolder",
  "head /v1/webhooks/minio": "probeMinioWebhook",
  "post /v1/webhooks/minio": "receiveMinioEvent",
  "post /v1/webhooks/s3": "receiveS3Event",
  "post /v1/webhooks/sns": "receiveSnsMessage",
  "post /v1/webhooks/eventbridge": "receiveEventBridgeEvent",
  "get /v1/work/{job}/plan": "getWorkPlan",
  "get /v1/work/{job}/objects": "listWorkObjects",
  "post /v1/work/{job}/shards/{shard}": "reportShard",
  "put /v1/work/{job}/shards/{shard}/records": "putShardRecords",
  "get /v1/work/{job}/source/{path}": "readSource",
};

/** Bodies of requests, for people and for tools that try a route. */
const EXAMPLES: Readonly<Record<string, unknown>> = {
  createJob: { source: "r2://tilewright-scans/slide.svs", model: "nuclei" },
  createCohort: {
    job: { model: "nuclei" },
    limits: { concurrency: 10, spendLimitUsd: 20 },
    rows: [{ id: "patient-1", source: "r2://tilewright-scans/patient-1.svs" }],
  },
  addCohortRows: { rows: [{ id: "patient-2", source: "r2://tilewright-scans/patient-2.svs" }] },
  limitCohort: { spendLimitUsd: 50 },
  retryCohort: { ids: ["patient-2"] },
  createUpload: { name: "slide.svs", byteLength: 1_938_955, request: { model: "nuclei" } },
  createFolder: { name: "series", request: { model: "hippocampus" } },
};
const PARAMETERS: Readonly<Record<string, string>> = {
  id: JOB,
  job: JOB,
  path: "run.json",
  n: "1",
  shard: "0",
  row: "0",
  column: "0",
};

interface Operation {
  operationId?: string;
  tags?: string[];
  parameters?: { name: string; in: string; example?: unknown }[];
  requestBody?: { content: Record<string, { example?: unknown }> };
}

/**
 * The OpenAPI document of all routes. Servers are relative to the document, so it is right wherever the service runs.
 * A route without a name of its own is a mistake, which a test finds.
 */
export function describeApi<E extends Env>(app: OpenAPIHono<E>): object {
  const document = app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Tilewright",
      version: VERSION,
      description:
        "Segmentation of whole-slide images and volumes. Every route but /healthz and this document needs a token: `Authorization: Bearer …`. Errors are `{ error: { code, message } }`.",
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    servers: [{ url: "/", description: "this service" }],
    security: [{ bearer: [] }],
    tags: TAGS.map(({ name, description }) => ({ name, description })),
  });
  for (const [path, methods] of Object.entries(document.paths ?? {})) {
    for (const [method, operation] of Object.entries(methods as Record<string, Operation>)) {
      const name = OPERATIONS[`${method} ${path}`];
      operation.operationId = name;
      operation.tags = [tagOf(path)];
      for (const parameter of operation.parameters ?? [])
        if (parameter.in === "path") parameter.example ??= PARAMETERS[parameter.name];
      const body = operation.requestBody?.content["application/json"];
      if (body && name && name in EXAMPLES) body.example ??= EXAMPLES[name];
    }
  }
  return document;
}

/** The group with the longest part in common. */
function tagOf(path: string): string {
  return TAGS.filter(({ prefix }) => path.startsWith(prefix)).reduce((a, b) =>
    b.prefix.length > a.prefix.length ? b : a,
  ).name;
}
