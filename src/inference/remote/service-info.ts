import * as z from "zod";

/**
 * `GET /v1/info` of an edge function or a runner: model, limits and runtime. Newer services may return more fields.
 */
export const serviceInfoSchema = z.object({
  model: z.object({
    name: z.string(),
    version: z.string().optional(),
    variant: z.string(),
    hash: z.string(),
  }),
  /** Window `[...window]` in samples, input channels and output classes. */
  window: z.array(z.int().positive()).min(2).max(3),
  channels: z.int().positive(),
  classes: z.int().positive(),
  limits: z.object({
    /** Maximum of one request. */
    maxWindows: z.int().positive(),
    maxBodyBytes: z.int().positive(),
    /** Concurrent requests that keep the service busy; more only wait. */
    requests: z.int().positive().optional(),
  }),
  runtime: z.object({
    name: z.string(),
    /** Execution provider of a runner: "cpu", "cuda" or "webgpu". */
    provider: z.string().optional(),
    sessions: z.int().positive().optional(),
    /** Current maximum of windows in one run; lower after a lack of memory. */
    batch: z.int().positive().optional(),
  }),
  /** Deviation from the golden tile, in probability. */
  golden: z.object({ maxAbs: z.number(), meanAbs: z.number() }).optional(),
});

export type ServiceInfo = z.infer<typeof serviceInfoSchema>;
