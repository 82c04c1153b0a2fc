import { z } from "zod";

const bucket = z.string().regex(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/, "must be the name of an R2 bucket");
/** The job service tells its queues apart by how their names begin. */
const queue = (begin: string) =>
  z
    .string()
    .regex(new RegExp(`^${begin}(-[a-z0-9-]{0,30}[a-z0-9])?$`), `must be ${begin}, or begin with ${begin}-`);
const days = z.int().min(1).max(365);

/** Below it lies what `POST /v1/uploads` takes. */
export const UPLOADS_PREFIX = "uploads/";

const notificationSchema = z.strictObject({
  /** Keys that begin with it are told of; "" for all. */
  prefix: z.string().max(512),
  /** As the keys are written: R2 tells ".svs" from ".SVS". */
  suffix: z.string().max(512).default(""),
});

export const configSchema = z.strictObject({
  buckets: z
    .strictObject({ scans: bucket, results: bucket, models: bucket })
    .refine((buckets) => areDistinct(Object.values(buckets)), {
      error: "each bucket needs a name of its own",
    }),
  queues: z
    .strictObject({
      /** Shards of a job go to one of those that the job service is bound to; all are consumed. */
      shards: z
        .union([queue("tilewright-shards"), z.array(queue("tilewright-shards")).min(1).max(100)])
        .transform((names) => (typeof names === "string" ? [names] : names)),
      tasks: queue("tilewright-tasks"),
      events: queue("tilewright-events"),
      dead: queue("tilewright-dead"),
    })
    .refine((queues) => areDistinct(Object.values(queues).flat()), {
      error: "each queue needs a name of its own",
    }),
  /** Where new buckets lie, as a hint; default near to whoever creates them. */
  location: z.enum(["weur", "eeur", "apac", "wnam", "enam", "oc"]).optional(),
  /** Directory of the model package, from the root of the repository; its last part is the package's name. */
  modelPackage: z.string().regex(/^([\w][\w.-]*\/)*[\w][\w.-]*$/, "must be a directory of the repository"),
  /** Of SCANS, for objects that are created. R2 refuses rules that overlap. */
  notifications: z
    .array(notificationSchema)
    .min(1)
    .max(100)
    .refine((rules) => !rules.some((a, i) => rules.some((b, j) => i < j && overlap(a, b))), {
      error: "rules overlap: no key may meet two of them",
    })
    .refine((rules) => rules.some((r) => r.suffix === "" && UPLOADS_PREFIX.startsWith(r.prefix)), {
      error: `no rule tells of all of ${UPLOADS_PREFIX}, where uploads go: nothing would start their jobs`,
    }),
  /** Origins of web pages that send presigned parts to SCANS; none: no CORS rules are set. */
  browserOrigins: z.array(z.string().regex(/^https?:\/\/[\w.-]+(:\d+)?$/, "must be an origin")).max(50),
  keepWorkDays: days,
  keepUnfinishedUploadsDays: days,
});

export type Config = z.output<typeof configSchema>;

/** @throws {Error} with a sentence that names the field */
export function readConfig(text: string): Config {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Error("the configuration is not JSON", { cause });
  }
  const parsed = configSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new Error(`configuration: ${path.join(".") || "the whole"}: ${message}`);
}

/** Name of the package, which is its folder in the bucket. */
export function modelName({ modelPackage }: Config): string {
  return modelPackage.slice(modelPackage.lastIndexOf("/") + 1);
}

function overlap(a: z.output<typeof notificationSchema>, b: z.output<typeof notificationSchema>): boolean {
  const prefixes = a.prefix.startsWith(b.prefix) || b.prefix.startsWith(a.prefix);
  return prefixes && (a.suffix.endsWith(b.suffix) || b.suffix.endsWith(a.suffix));
}

function areDistinct(names: readonly string[]): boolean {
  return new Set(names).size === names.length;
}
