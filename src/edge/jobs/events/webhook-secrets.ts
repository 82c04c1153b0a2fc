import * as z from "zod";
import { MIN_TOKEN_LENGTH } from "../../../service/bearer.ts";
import { HttpError } from "../../../service/http-error.ts";
import { parseJsonBinding } from "../../shared/json-binding.ts";

const secret = z
  .string()
  .min(MIN_TOKEN_LENGTH)
  .max(512)
  .regex(/^[\x21-\x7e]+$/);
const topic = z.string().regex(/^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w-]{1,256}(\.fifo)?$/);

const secretsSchema = z.strictObject({
  s3: z.strictObject({ token: secret }).optional(),
  sns: z.strictObject({ topics: z.array(topic).min(1).max(100) }).optional(),
  eventbridge: z.strictObject({ apiKey: secret }).optional(),
  minio: z.strictObject({ token: secret }).optional(),
});

export type WebhookSecrets = z.output<typeof secretsSchema>;
export const WEBHOOK_KINDS = ["s3", "sns", "eventbridge", "minio"] as const;
export type WebhookKind = (typeof WEBHOOK_KINDS)[number];

const EXPECTED =
  'JSON: { "s3"?: { "token" }, "sns"?: { "topics": [ARN, ...] }, "eventbridge"?: { "apiKey" }, "minio"?: { "token" } }, ' +
  `secrets of at least ${MIN_TOKEN_LENGTH} characters`;

/** @throws {HttpError} 404 for a kind that is not configured; 503 where the binding is wrong */
export function parseWebhookSecrets<K extends WebhookKind>(
  env: { WEBHOOKS?: string },
  kind: K,
): NonNullable<WebhookSecrets[K]> {
  const secrets = parseJsonBinding("WEBHOOKS", env.WEBHOOKS, secretsSchema, EXPECTED)?.[kind];
  if (!secrets) throw new HttpError(404, "not_found", `this service accepts no events from ${kind}`);
  return secrets;
}
