import { createRoute, z } from "@hono/zod-openapi";
import { jobRequestSchema } from "../../../contracts/job-request.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import type { Bindings } from "../context/bindings.ts";
import { readJobDocument } from "./job-document.ts";
import { describeSourceRoute, jobSource, sendSource, sourceObjects } from "./source-routes.ts";

const jobParams = z.object({ id: z.string() });
const failures = {
  401: errorContent("the token is missing or wrong"),
  403: errorContent("the token lacks the scope source"),
  404: errorContent("there is no such job or object"),
};

const requestRoute = createRoute({
  method: "get",
  path: "/v1/jobs/{id}/request",
  summary: "The request of a job, without its callback: another job of the same scan can be made from it",
  request: { params: jobParams },
  responses: {
    200: jsonContent(
      jobRequestSchema
        .omit({ callback: true })
        .extend({ name: z.string().openapi({ description: "Last part of the source's address." }) })
        .openapi("StatedJobRequest"),
      "the request",
    ),
    401: failures[401],
    403: errorContent("the token lacks the scope read"),
    404: failures[404],
  },
});
const objectsRoute = createRoute({
  method: "get",
  path: "/v1/jobs/{id}/source",
  summary: "Keys of the objects below the source of a job, where the source is a prefix",
  request: { params: jobParams, query: z.object({ prefix: z.string().max(2048).default("") }) },
  responses: {
    200: jsonContent(z.array(z.string()), "the keys; none for a source that is one object or a Zarr"),
    409: errorContent("the source was replaced since the job was created"),
    ...failures,
  },
});

/**
 * What pages need to show the scan of a job: its request, and its pixels, which need a scope of their own, because a scan can hold
 * more than its results, for instance a label with a name.
 */
export function createViewerRoutes() {
  const app = createOpenApiApp<{ Bindings: Bindings }>();

  app.openapi(requestRoute, async (c) => {
    const { request, source, model } = await readJobDocument(c.env, c.req.valid("param").id);
    const { callback: _, ...stated } = request;
    const { name, variant } = model;
    return c.json({ ...stated, model: name, variant, source: source.uri, name: source.name }, 200);
  });

  app.openapi(objectsRoute, async (c) => {
    const objects = await sourceObjects(c.env, c.req.valid("param").id);
    const { prefix } = c.req.valid("query");
    return c.json(
      objects.map(({ key }) => key).filter((key) => key.startsWith(prefix)),
      200,
    );
  });

  // Documented by hand, matched by Hono.
  app.openAPIRegistry.registerPath(
    describeSourceRoute(
      "/v1/jobs/{id}/source/{path}",
      "The scan of a job, or an object below it, by range",
      jobParams,
      failures,
    ),
  );
  app.get("/v1/jobs/:id/source/:path{.+}", async (c) =>
    sendSource(c, await jobSource(c.env, c.req.param("id"))),
  );
  return app;
}
