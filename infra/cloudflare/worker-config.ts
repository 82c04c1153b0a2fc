import { join } from "node:path";
import { unstable_readConfig } from "wrangler";
import * as z from "zod";

export const ROOT = join(import.meta.dirname, "../..");

/** Paths of configurations, from the root of the repository. */
export const WORKERS = {
  jobs: "wrangler.toml",
  segment: "src/edge/segment/wrangler.toml",
  probe: "infra/cloudflare/probe/wrangler.toml",
} as const;

export type WorkerName = keyof typeof WORKERS;

/** The used part of a Worker's configuration. */
export interface WorkerConfig {
  /** The deployed name. */
  name: string;
  vars: Readonly<Record<string, string>>;
  /** Names of buckets by binding. */
  buckets: Readonly<Record<string, string>>;
  /** Queues by binding. */
  produces: Readonly<Record<string, string>>;
  consumes: readonly { queue: string; deadLetterQueue?: string }[];
  /** Name of the Worker, by binding, for Durable Objects of another Worker. */
  foreignObjects: Readonly<Record<string, string>>;
}

/** The used part of wrangler: its own types need a dependency that it does not install. */
const rawSchema = z.object({
  name: z.string(),
  vars: z.record(z.string(), z.unknown()),
  r2_buckets: z.array(z.object({ binding: z.string(), bucket_name: z.string() })),
  queues: z.object({
    producers: z.array(z.object({ binding: z.string(), queue: z.string() })).default([]),
    consumers: z.array(z.object({ queue: z.string(), dead_letter_queue: z.string().optional() })).default([]),
  }),
  durable_objects: z.object({
    bindings: z.array(z.object({ name: z.string(), script_name: z.string().optional() })),
  }),
});

/** Reads a configuration with wrangler. */
export function readWorkerConfig(worker: WorkerName): WorkerConfig {
  const { name, vars, r2_buckets, queues, durable_objects } = rawSchema.parse(
    unstable_readConfig({ config: join(ROOT, WORKERS[worker]) }, { hideWarnings: true }),
  );
  return {
    name,
    vars: Object.fromEntries(Object.entries(vars).map(([key, value]) => [key, String(value)])),
    buckets: Object.fromEntries(r2_buckets.map(({ binding, bucket_name }) => [binding, bucket_name])),
    produces: Object.fromEntries(queues.producers.map(({ binding, queue }) => [binding, queue])),
    consumes: queues.consumers.map((c) => ({ queue: c.queue, deadLetterQueue: c.dead_letter_queue })),
    foreignObjects: Object.fromEntries(
      durable_objects.bindings.flatMap((b) => (b.script_name ? [[b.name, b.script_name]] : [])),
    ),
  };
}
