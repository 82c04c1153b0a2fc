import * as z from "zod";
import { isLoopback } from "../../service/loopback.ts";
import { bucketSchema } from "../shared/bucket-name.ts";
import { parseJsonBinding } from "../shared/json-binding.ts";
import { isInternal } from "./internal-host.ts";

/** A host and port that may be read. */
export interface AllowedHost {
  hostname: string;
  /** Never "": the default port of the protocol where none is given. */
  port: string;
  /** http is for loopback hosts only. */
  protocols: readonly ("http:" | "https:")[];
}

export interface BucketSource {
  /** Without a final "/". */
  endpoint: string;
  region: string;
  /** Undefined for a public bucket. */
  keys: { accessKeyId: string; secretAccessKey: string } | undefined;
}

/** Sources that may be read besides the bucket of scans. */
export interface SourceSettings {
  hosts: readonly AllowedHost[];
  buckets: ReadonlyMap<string, BucketSource>;
}

const sourcesSchema = z
  .array(
    z.discriminatedUnion("kind", [
      z.strictObject({
        kind: z.literal("s3"),
        bucket: bucketSchema,
        endpoint: z.string().max(1024).transform(parseEndpoint),
        /** R2 needs "auto". */
        region: z
          .string()
          .regex(/^[a-z0-9-]{1,64}$/)
          .default("us-east-1"),
      }),
      z.strictObject({ kind: z.literal("http"), host: z.string().max(300).transform(parseAllowedHost) }),
    ]),
  )
  .max(200)
  .refine((sources) => {
    const buckets = sources.flatMap((source) => (source.kind === "s3" ? [source.bucket] : []));
    return new Set(buckets).size === buckets.length;
  });

const secret = z
  .string()
  .max(512)
  .regex(/^[\x21-\x7e]+$/);
const keysSchema = z.record(z.string(), z.strictObject({ accessKeyId: secret, secretAccessKey: secret }));

/** @throws {HttpError} 503 */
export function parseSourceSettings(env: { SOURCES?: string; SOURCE_KEYS?: string }): SourceSettings {
  const sources = parseJsonBinding(
    "SOURCES",
    env.SOURCES,
    sourcesSchema,
    'a JSON list of { "kind": "s3", "bucket", "endpoint", "region"? } with each bucket once, and { "kind": "http", "host" }; ' +
      "endpoints are https, or http with a loopback host; other internal addresses are not read",
  );
  const keys = new Map(
    Object.entries(
      parseJsonBinding(
        "SOURCE_KEYS",
        env.SOURCE_KEYS,
        keysSchema,
        'JSON: { bucket: { "accessKeyId", "secretAccessKey" } }',
      ) ?? {},
    ),
  );
  const buckets = new Map<string, BucketSource>();
  const hosts: AllowedHost[] = [];
  for (const source of sources ?? []) {
    if (source.kind === "http") hosts.push(source.host);
    else {
      const { bucket, endpoint, region } = source;
      buckets.set(bucket, { endpoint, region, keys: keys.get(bucket) });
    }
  }
  return { hosts, buckets };
}

/** `host` or `host:port`. A loopback host needs a port: it allows one server, not the whole machine. */
function parseAllowedHost(text: string, ctx: z.RefinementCtx): AllowedHost {
  const url = URL.canParse(`https://${text}/`) ? new URL(`https://${text}/`) : undefined;
  const isHost = url?.href === `https://${url?.host}/` && !/[/\\?#@*\s]/.test(text);
  // From the text, because URL drops 443.
  const port = /:(\d+)$/.exec(text)?.[1];
  if (!url || !isHost || !isNamed(url.hostname) || (isLoopback(url.hostname) && port === undefined)) {
    ctx.addIssue({ code: "custom", message: "not a valid host" });
    return z.NEVER;
  }
  return {
    hostname: url.hostname,
    port: port === undefined ? "443" : String(Number(port)),
    protocols: isLoopback(url.hostname) ? ["http:", "https:"] : ["https:"],
  };
}

function parseEndpoint(text: string, ctx: z.RefinementCtx): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname));
  const isPlain = url && !url.username && !url.password && !url.search && !url.hash;
  if (!url || !isSafe || !isPlain || !isNamed(url.hostname)) {
    ctx.addIssue({ code: "custom", message: "not a valid endpoint" });
    return z.NEVER;
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

function isNamed(hostname: string): boolean {
  return hostname !== "" && (isLoopback(hostname) || !isInternal(hostname));
}
