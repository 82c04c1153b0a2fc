import { OpenAPIHono } from "@hono/zod-openapi";
import { VERSION } from "../../orchestrator/version.ts";
import { Problem, problemOf } from "../shared/problem.ts";
import type { Bindings } from "./bindings.ts";
import { createJobRoutes } from "./job-routes.ts";

/** All routes of the job service. */
export function createApp(): OpenAPIHono<{ Bindings: Bindings }> {
  const app = new OpenAPIHono<{ Bindings: Bindings }>();
  app.get("/healthz", (c) => c.json({ ok: true }));
  app.route("/", createJobRoutes());
  app.doc31("/v1/openapi.json", {
    openapi: "3.1.0",
    info: { title: "Tilewright", version: VERSION },
    security: [{ bearer: [] }],
  });
  app.notFound((c) =>
    answer(new Problem(404, "not_found", `there is no ${c.req.method} ${c.req.path} here`)),
  );
  app.onError((error) => answer(error));
  return app;
}

function answer(error: unknown): Response {
  const problem = problemOf(error);
  const { code, message, status, headers } = problem;
  if (status < 500 || problem === error)
    return Response.json({ error: { code, message } }, { status, headers });
  const id = crypto.randomUUID();
  console.error(id, error);
  return Response.json({ error: { code, message, id } }, { status, headers });
}
