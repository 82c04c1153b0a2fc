import * as z from "zod";

const bucket = z.string().regex(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/, "must be the name of an R2 bucket");
/** The job service distinguishes its queues by the prefix of their names. */
const queue = (begin: string) =>
  z
    .string()
    .regex(new RegExp(`^${begin}(-[a-z0-9-]{0,30}[a-z0-9])?$`), `must be ${begin}, or begin with ${begin}-`);
const days = z.int().min(1).max(365);

/** Prefix of the keys of `POST /v1/uploads`. */
export const UPLOADS_PREFIX = "uploads/";

const notificationSchema = z.strictObject({
  /** Prefix of the keys with notifications; "" for all. */
  prefix: z.string().max(512),
  /** Case-sensitive: R2 distinguishes ".svs" and ".SVS". */
  suffix: z.string().max(512).default(""),
});

export const configSchema = z.strictObject({
  buckets: z
    .strictObject({ scans: bucket, results: bucket, models: bucket })
    .refine((buckets) => areDistinct(Object.values(buckets)), {
      error: "bucket names must differ",
    }),
  queues: z
    .strictObject({
      /** Shards go to the queues that the job service binds; the edge function consumes all. */
      shards: z
        .union([queue("tilewright-shards"), z.array(queue("tilewright-shards")).min(1).max(100)])
        .transform((names) => (typeof names === "string" ? [names] : names)),
      tasks: queue("tilewright-tasks"),
      events: queue("tilewright-events"),
      dead: queue("tilewright-dead"),
    })
    .refine((queues) => areDistinct(Object.values(queues).flat()), {
      error: "queue names must differ",
    }),
  /** Location hint for new buckets; default: near the caller. */
  location: z.enum(["weur", "eeur", "apac", "wnam", "enam", "oc"]).optional(),
  /** Directory of the model package, from the root of the repository; its last part is the name of the package. */
  modelPackage: z.string().regex(/^([\w][\w.-]*\/)*[\w][\w.-]*$/, "must be a directory of the repository"),
  /** Notifications of SCANS for created objects. R2 rejects overlapping rules. */
  notifications: z
    .array(notificationSchema)
    .min(1)
    .max(100)
    .refine((rules) => !rules.some((a, i) => rules.some((b, j) => i < j && overlap(a, b))), {
      error: "rules overlap: a key may match one rule only",
    })
    .refine((rules) => rules.some((r) => r.suffix === "" && UPLOADS_PREFIX.startsWith(r.prefix)), {
      error: `no rule covers all of ${UPLOADS_PREFIX}, the prefix of uploads: they would start no jobs`,
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

/** Name of the package and of its folder in the bucket. */
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
