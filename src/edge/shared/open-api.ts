import { OpenAPIHono, type RouteConfig, z } from "@hono/zod-openapi";
import type { Env } from "hono";
import { HttpError } from "../../service/http-error.ts";
import { jsonBody } from "./json-body.ts";

/** Body of every error response. */
export const errorSchema = z
  .object({
    error: z.object({
      code: z.string(),
      message: z.string(),
      /** Id of the log entry with details. */
      id: z.string().optional(),
    }),
  })
  .openapi("Problem");

/** A JSON body in an OpenAPI document. */
export const jsonContent = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});

/** An error in an OpenAPI document. */
export const errorContent = (description: string) => jsonContent(errorSchema, description);

/** An app that validates requests against its OpenAPI document; errors name the field. */
export function createOpenApiApp<E extends Env>(): OpenAPIHono<E> {
  const app = new OpenAPIHono<E>({
    defaultHook: (result) => {
      if (result.success) return;
      const { path, message } = result.error.issues[0]!;
      throw new HttpError(422, "bad_request", `${path.join(".") || "the request"}: ${message}`);
    },
  });
  const { openapi } = app;
  // Before the schema, which would take a body that is not JSON for an empty object.
  app.openapi = ((route: RouteConfig & { middleware?: never }, ...rest: [never, never]) =>
    openapi(takesJson(route) ? { ...route, middleware: jsonBody } : route, ...rest)) as typeof openapi;
  return app;
}

function takesJson({ request }: RouteConfig): boolean {
  return request?.body?.content !== undefined && "application/json" in request.body.content;
}
