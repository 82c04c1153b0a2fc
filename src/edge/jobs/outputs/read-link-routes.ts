import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HttpError } from "../../../service/http-error.ts";
import { R2Store } from "../../../storage/r2-store.ts";
import { jobKeys } from "../../shared/job-keys.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import { parseCorsOrigins } from "../auth/cors.ts";
import {
  DEFAULT_LINK_SECONDS,
  MAX_LINK_SECONDS,
  MIN_LINK_SECONDS,
  signReadLink,
  verifyReadLink,
} from "../auth/read-link.ts";
import { parseTokens } from "../auth/tokens.ts";
import type { Bindings } from "../context/bindings.ts";
import { JOB_ID } from "./output-path.ts";
import { sendOutput } from "./routes.ts";

const makeLink = createRoute({
  method: "get",
  path: "/v1/jobs/{id}/read-link",
  summary: "A link under which other programs read the results of a job for a while, without a token",
  request: {
    params: z.object({ id: z.string() }),
    query: z.object({
      seconds: z.coerce
        .number()
        .int()
        .min(MIN_LINK_SECONDS)
        .max(MAX_LINK_SECONDS)
        .default(DEFAULT_LINK_SECONDS)
        .openapi({ description: "Time until the link ends." }),
    }),
  },
  responses: {
    200: jsonContent(
      z
        .object({
          path: z
            .string()
            .openapi({ description: "Below the service's address; names of outputs follow it." }),
          expiresAt: z.iso.datetime(),
          corsOrigins: z.array(z.string()).openapi({ description: "Pages of other hosts that may read it." }),
        })
        .openapi("ReadLink"),
      "the link",
    ),
    401: errorContent("the token is missing or wrong"),
    404: errorContent("the job has no results, or none yet"),
  },
});

/** Signed links to results. The link is the only credential that an address ever holds: it ends, and reads one job. */
export function createReadLinkRoutes() {
  const app = createOpenApiApp<{ Bindings: Bindings }>();

  app.openapi(makeLink, async (c) => {
    const { id } = c.req.valid("param");
    await requireResults(c.env, id);
    const expires = Math.floor(Date.now() / 1000) + c.req.valid("query").seconds;
    const signature = await signReadLink(secretOf(c.env), { job: id, expires });
    return c.json(
      {
        path: `/v1/read/${id}/${expires}/${signature}/`,
        expiresAt: new Date(expires * 1000).toISOString(),
        corsOrigins: [...parseCorsOrigins(c.env)],
      },
      200,
      { "Cache-Control": "no-store" },
    );
  });

  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/v1/read/{job}/{expires}/{signature}/{path}",
    summary: "One file of a job's results by a read link, whole or by range; also HEAD",
    security: [],
    request: {
      params: z.object({ job: z.string(), expires: z.string(), signature: z.string(), path: z.string() }),
      headers: z.object({ Range: z.string().optional() }),
    },
    responses: {
      200: { description: "The file.", content: { "application/octet-stream": { schema: z.any() } } },
      206: { description: "The range.", content: { "application/octet-stream": { schema: z.any() } } },
      403: errorContent("The link has ended, or was altered."),
      404: errorContent("There is no such file."),
    },
  });
  app.get("/v1/read/:job/:expires/:signature/:path{.+}", async (c) => {
    const { job, expires, signature } = c.req.param();
    await requireLink(c, job, expires, signature);
    await requireResults(c.env, job);
    // From the raw URL: a router may decode it twice or not at all.
    const encoded = new URL(c.req.url).pathname.split("/").slice(6).join("/");
    return sendOutput(c, job, encoded);
  });
  return app;
}

async function requireLink(
  { env }: Context<{ Bindings: Bindings }>,
  job: string,
  expires: string,
  signature: string,
): Promise<void> {
  const isLink = JOB_ID.test(job) && /^[1-9]\d{0,14}$/.test(expires) && /^[0-9a-f]{64}$/.test(signature);
  const grant = { job, expires: Number(expires) };
  if (isLink && (await verifyReadLink(secretOf(env), grant, signature, Date.now() / 1000))) return;
  throw new HttpError(403, "link_invalid", "the link has ended or was altered: ask for a new one");
}

/** @throws {HttpError} 503 while no token is configured */
function secretOf(env: Bindings): string {
  parseTokens(env);
  return env.TOKENS!;
}

async function requireResults({ RESULTS }: Bindings, job: string): Promise<void> {
  const isDone = JOB_ID.test(job) && (await new R2Store(RESULTS!).head(jobKeys.manifest(job)));
  if (!isDone) throw new HttpError(404, "no_results", "the job has no results, or none yet");
}
