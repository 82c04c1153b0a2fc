import { z } from "@hono/zod-openapi";

/** The body of every answer that is no success. */
export const problemSchema = z
  .object({
    error: z.object({
      code: z.string(),
      message: z.string(),
      /** Names the entry in the log that has more. */
      id: z.string().optional(),
    }),
  })
  .openapi("Problem");
