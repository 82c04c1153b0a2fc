import type { R2Bucket } from "@cloudflare/workers-types";
import { OpenAPIHono } from "@hono/zod-openapi";
import { HTTPException } from "hono/http-exception";
import type { Bindings } from "../../../../src/edge/jobs/context/bindings.ts";
import { createOutputRoutes } from "../../../../src/edge/jobs/outputs/routes.ts";
import { createFolderRoutes } from "../../../../src/edge/jobs/uploads/folder-routes.ts";
import { recordJob, recordRefusal } from "../../../../src/edge/jobs/uploads/ledger-calls.ts";
import type { CompletedScan } from "../../../../src/edge/jobs/uploads/publish-upload-event.ts";
import { createUploadRoutes } from "../../../../src/edge/jobs/uploads/routes.ts";
import { UploadLedger as Ledger } from "../../../../src/edge/jobs/uploads/upload-ledger.ts";
import { parseUploadId } from "../../../../src/edge/jobs/uploads/upload-plan.ts";
import { HttpError, toHttpError } from "../../../../src/service/http-error.ts";

interface TestBindings extends Bindings {
  IDLE_MS?: string;
  /** "at once", "later" or "refused": when the service reports the job of an upload. */
  JOB?: string;
  /** How the first completion of each upload fails: "before" R2 gets it, "after" it, or because of unknown "parts". */
  COMPLETION_FAILS?: "before" | "after" | "parts";
}

const JOB = "0123456789abcdef0123456789abcdef";

export class UploadLedger extends Ledger {
  protected override readonly idleMs: number;

  constructor(ctx: ConstructorParameters<typeof Ledger>[0], env: TestBindings) {
    super(ctx, env.COMPLETION_FAILS ? { ...env, SCANS: failingOnce(env.SCANS!, env.COMPLETION_FAILS) } : env);
    this.idleMs = Number(env.IDLE_MS ?? 1e9);
  }
}

/** R2, except for the first response to a completion. */
function failingOnce(bucket: R2Bucket, when: "before" | "after" | "parts"): R2Bucket {
  let failed = false;
  const resumeMultipartUpload: R2Bucket["resumeMultipartUpload"] = (key, uploadId) => {
    const upload = bucket.resumeMultipartUpload(key, uploadId);
    const complete: typeof upload.complete = async (parts) => {
      if (failed) return upload.complete(parts);
      failed = true;
      if (when === "after") await upload.complete(parts);
      throw new Error(
        when === "parts" ? "completeMultipartUpload: no such part (10025)" : "internal error (10001)",
      );
    };
    return { ...upload, complete };
  };
  return new Proxy(bucket, {
    get(target, name) {
      if (name === "resumeMultipartUpload") return resumeMultipartUpload;
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Published scans, for the lifetime of the isolate. */
const told: CompletedScan[] = [];
let failNext = false;
/** Started jobs of folders, likewise. */
const started: { source: string; request: object }[] = [];

const app = new OpenAPIHono<{ Bindings: TestBindings }>();

app.route(
  "/",
  createUploadRoutes({
    maxBytes: 300 * 2 ** 30,
    async onCompleted(scan, env) {
      if (failNext) {
        failNext = false;
        throw new HttpError(503, "queue_unavailable", "the queue is not there; try again", {
          "Retry-After": "0",
        });
      }
      told.push(scan);
      const { JOB: when } = env as TestBindings;
      if (when === "at once") return JOB;
      const id = parseUploadId(scan.key)!;
      if (when === "later") await recordJob(env, id, JOB);
      if (when === "refused") await recordRefusal(env, id, "the model is not there");
      return undefined;
    },
  }),
);
app.route(
  "/",
  createFolderRoutes({
    async start(_env, source, request) {
      started.push({ source, request });
      return JOB;
    },
  }),
);
app.route("/", createOutputRoutes());

/** A job that is running for two polls, then done. */
let polls = 0;
app.get("/v1/jobs/:id", async (c) => {
  const windows = { total: 10, done: Math.min(10, ++polls * 4) };
  const state = windows.done === 10 ? "done" : "mapping";
  const at = new Date(0).toISOString();
  const run = await c.env.RESULTS!.head(`results/${c.req.param("id")}/objects.geojson`);
  return c.json({
    id: c.req.param("id"),
    state,
    source: { uri: "r2://scans/x", etag: "e", byteLength: 1 },
    model: { name: "nuclei" },
    createdAt: at,
    updatedAt: at,
    windows,
    outputs:
      state === "done" && run
        ? [{ name: "objects.geojson", byteLength: run.size, sha256: run.customMetadata!.sha256 }]
        : undefined,
  });
});

app.get("/test/started", (c) => c.json(started));
app.get("/test/told", (c) => c.json(told));
app.post("/test/fail-next", (c) => {
  failNext = true;
  return c.json({});
});
app.get("/test/openapi", (c) =>
  c.json(app.getOpenAPI31Document({ openapi: "3.1.0", info: { title: "test", version: "0" } })),
);

app.onError((error, c) => {
  if (error instanceof HTTPException) {
    return c.json({ error: { code: "bad_request", message: error.message } }, error.status);
  }
  const problem = toHttpError(error);
  if (problem !== error) console.error(error);
  const { code, message } = problem;
  return c.json({ error: { code, message } }, problem.status, problem.headers);
});

export default app;
