import { z } from "zod";

/**
 * `GET /v1/info` of an edge function or a runner: what a caller has to know before it sends windows, and what runs them.
 * A newer service may tell more.
 */
export const serviceInfoSchema = z.object({
  model: z.object({
    name: z.string(),
    version: z.string().optional(),
    variant: z.string(),
    hash: z.string(),
  }),
  /** `[...window]` in samples, channels in and classes out. */
  window: z.array(z.int().positive()).min(2).max(3),
  channels: z.int().positive(),
  classes: z.int().positive(),
  limits: z.object({
    /** The most one request may carry. */
    maxWindows: z.int().positive(),
    maxBodyBytes: z.int().positive(),
    /** How many requests at a time keep the service busy; more only wait. */
    requests: z.int().positive().optional(),
  }),
  runtime: z.object({
    name: z.string(),
    /** What a runner computes on: "cpu", "cuda" or "webgpu". */
    provider: z.string().optional(),
    sessions: z.int().positive().optional(),
    /** Windows that a session takes in one run, now: less than at the start where the device had no memory for more. */
    batch: z.int().positive().optional(),
  }),
  /** How far off the golden tile was there, in probability. */
  golden: z.object({ maxAbs: z.number(), meanAbs: z.number() }).optional(),
});

export type ServiceInfo = z.infer<typeof serviceInfoSchema>;
