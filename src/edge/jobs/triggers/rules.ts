import * as z from "zod";
import { type FullJobRequest, jobRequestSchema } from "../../../contracts/job-request.ts";
import { bucketSchema } from "../../shared/bucket-name.ts";
import { parseJsonBinding } from "../../shared/json-binding.ts";
import { isObjectKey, isReservedKey } from "../../shared/object-key.ts";
import type { Bindings } from "../context/bindings.ts";
import type { StorageEvent } from "../events/storage-event.ts";
import { isFolderFile } from "../uploads/folder-plan.ts";

const ruleSchema = z.strictObject({
  /** For logs. */
  name: z.string().regex(/^[\w][\w .-]{0,63}$/),
  bucket: bucketSchema,
  prefix: z.string().max(1024).optional(),
  /** Matches any of them, ignoring case: `[".svs", ".tif"]`. */
  suffix: z.array(z.string().min(1).max(64)).min(1).max(64).optional(),
  /** A job request without its source. */
  request: jobRequestSchema.omit({ source: true }).prefault({}),
});

const rulesSchema = z.array(ruleSchema).max(100);

export type Rule = z.output<typeof ruleSchema>;

export interface Rules {
  list: readonly Rule[];
  /** The bucket of results; its objects start no job. */
  resultsBucket: string | undefined;
}

/** Without the binding no event starts a job. @throws {HttpError} 503 */
export function parseRules(env: Pick<Bindings, "RULES" | "RESULTS_BUCKET">): Rules {
  const list = parseJsonBinding(
    "RULES",
    env.RULES,
    rulesSchema,
    'a JSON list of { "name", "bucket", "prefix"?, "suffix"?: [...], "request": a job request without its source }',
  );
  return { list: list ?? [], resultsBucket: env.RESULTS_BUCKET || undefined };
}

/**
 * The job requests of an event: that of the first matching rule, or none. Objects that the service writes start nothing:
 * the results bucket and, in every bucket, keys below `work/` and `results/`. Neither do files of uploaded folders and
 * chunks of a Zarr: they are not scans, and no event says when the last one is stored.
 */
export function matchRules(rules: Rules, event: StorageEvent): FullJobRequest[] {
  const { bucket, key } = event;
  if (event.action !== "create" || !isObjectKey(key)) return [];
  if (bucket === rules.resultsBucket || isReservedKey(key)) return [];
  if (isFolderFile(key) || /\.zarr\//i.test(key)) return [];
  const rule = rules.list.find((r) => meets(r, bucket, key));
  return rule ? [jobRequestSchema.parse({ ...rule.request, source: toSourceAddress(event) })] : [];
}

/** The address of an event's object for a job request. */
export function toSourceAddress({ provider, bucket, key }: StorageEvent): string {
  return `${provider === "r2" ? "r2" : "s3"}://${bucket}/${key}`;
}

function meets(rule: Rule, bucket: string, key: string): boolean {
  if (rule.bucket !== bucket || !key.startsWith(rule.prefix ?? "")) return false;
  const lower = key.toLowerCase();
  return rule.suffix === undefined || rule.suffix.some((suffix) => lower.endsWith(suffix.toLowerCase()));
}
