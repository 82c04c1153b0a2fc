import { OpenAPIHono, z } from "@hono/zod-openapi";
import type { Env } from "hono";
import { Problem } from "../../service/problem.ts";

/** Body of every error. */
export const problemSchema = z
  .object({
    error: z.object({
      code: z.string(),
      message: z.string(),
      /** Names the entry of the log that has more. */
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
export const refusal = (description: string) => jsonContent(problemSchema, description);

/** An app whose requests are checked by its OpenAPI document: what does not fit is a problem that names the field. */
export function openApiApp<E extends Env>(): OpenAPIHono<E> {
  return new OpenAPIHono<E>({
    defaultHook: (result) => {
      if (result.success) return;
      const { path, message } = result.error.issues[0]!;
      throw new Problem(422, "bad_request", `${path.join(".") || "the request"}: ${message}`);
    },
  });
}
