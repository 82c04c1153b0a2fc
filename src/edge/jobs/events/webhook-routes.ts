import { OpenAPIHono, type RouteConfig } from "@hono/zod-openapi";
import * as z from "zod";
import { parseBearer, unauthorized } from "../../../service/bearer.ts";
import { equalInConstantTime } from "../../../service/constant-time.ts";
import { HttpError } from "../../../service/http-error.ts";
import { errorSchema } from "../../shared/open-api.ts";
import { readTextBody } from "../../shared/read-text-body.ts";
import type { Bindings } from "../context/bindings.ts";
import { objectCreatedSchema, readEventBridge } from "./eventbridge.ts";
import { minioSchema, readMinio } from "./minio.ts";
import { readS3Records, s3RecordsSchema } from "./s3-records.ts";
import { readSns, type SnsDeps } from "./sns.ts";
import { snsMessageSchema } from "./sns-message.ts";
import { SnsVerifier } from "./sns-signature.ts";
import { parseJsonText, type ReadEvents, type StorageEvent } from "./storage-event.ts";
import { parseWebhookSecrets, WEBHOOK_KINDS, type WebhookKind } from "./webhook-secrets.ts";

/** Amazon's limit for a message. */
export const MAX_WEBHOOK_BYTES = 256 * 1024;

export interface WebhookDeps extends SnsDeps {
  /** Accepts an event durably and quickly: EventBridge waits 5 s. The same event may arrive again. */
  accept(event: StorageEvent): Promise<void>;
}

export interface WebhookEnv {
  Bindings: Pick<Bindings, "WEBHOOKS">;
}

/**
 * `POST /v1/webhooks/{s3,sns,eventbridge,minio}`: storage events over HTTP. Senders authenticate before the body is read,
 * except SNS, which signs the body.
 * @param createDeps creates the dependencies of a request from its bindings
 */
export function createWebhookRoutes<E extends WebhookEnv>(
  createDeps: (env: E["Bindings"]) => WebhookDeps,
): OpenAPIHono<E> {
  const app = new OpenAPIHono<E>();
  const verifier = new SnsVerifier();

  for (const kind of WEBHOOK_KINDS) {
    const path = `/v1/webhooks/${kind}`;
    app.openAPIRegistry.registerPath(describePost(kind, path));
    app.post(path, async (c) => {
      await authenticate(kind, c.env, (name) => c.req.header(name));
      const deps = createDeps(c.env);
      const body = parseJsonText(await readTextBody(c.req.raw, MAX_WEBHOOK_BYTES));
      if (kind !== "sns") return c.json(await accept(READERS[kind](body), deps));
      const { topics } = parseWebhookSecrets(c.env, kind);
      const message = await readSns(body, topics, verifier, deps);
      const answer = await accept(message, deps);
      // Only after accepting, so that a failed message can be sent again.
      await orTryAgain(deps.remember(message.id));
      return c.json(answer);
    });
  }

  app.openAPIRegistry.registerPath({
    method: "head",
    path: "/v1/webhooks/minio",
    summary: "MinIO checks that the endpoint exists",
    responses: { 200: { description: "Events are accepted" }, 404: { description: "Not set up" } },
  });
  // hono handles HEAD with the handlers of GET.
  app.get("/v1/webhooks/minio", (c) => {
    if (c.req.method !== "HEAD") throw onlyPost("POST, HEAD");
    parseWebhookSecrets(c.env, "minio");
    return c.body(null);
  });
  for (const kind of WEBHOOK_KINDS) {
    app.all(`/v1/webhooks/${kind}`, () => {
      throw onlyPost(kind === "minio" ? "POST, HEAD" : "POST");
    });
  }

  app.openAPIRegistry.registerComponent("securitySchemes", "webhookToken", {
    type: "http",
    scheme: "bearer",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "webhookKey", {
    type: "apiKey",
    in: "header",
    name: API_KEY_HEADER,
  });
  return app;
}

/** The header with the key of an EventBridge API destination. */
const API_KEY_HEADER = "X-Api-Key";

const READERS: Record<Exclude<WebhookKind, "sns">, (body: unknown) => ReadEvents> = {
  s3: (body) => readS3Records(body, "s3"),
  eventbridge: readEventBridge,
  minio: readMinio,
};

async function authenticate(
  kind: WebhookKind,
  env: { WEBHOOKS?: string },
  header: (name: string) => string | undefined,
): Promise<void> {
  switch (kind) {
    case "s3":
    case "minio": {
      const given = parseBearer(header("Authorization"));
      if (!(await equalInConstantTime(given, parseWebhookSecrets(env, kind).token))) throw unauthorized();
      return;
    }
    case "eventbridge":
      if (!(await equalInConstantTime(header(API_KEY_HEADER) ?? "", parseWebhookSecrets(env, kind).apiKey))) {
        throw new HttpError(401, "unauthorized", `the key in ${API_KEY_HEADER} is missing or wrong`);
      }
      return;
    case "sns":
      parseWebhookSecrets(env, kind);
  }
}

async function accept({ events, ignored }: ReadEvents, deps: WebhookDeps) {
  await orTryAgain(Promise.all(events.map((event) => deps.accept(event))));
  return { accepted: events.length, ignored };
}

/** Senders retry after a 503. */
async function orTryAgain(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    console.error(error);
    throw new HttpError(503, "unavailable", "the events cannot be accepted now; send them again", {
      "Retry-After": "20",
    });
  }
}

function onlyPost(allowed: string): HttpError {
  return new HttpError(405, "method_not_allowed", `this route supports ${allowed} only`, { Allow: allowed });
}

const BODIES: Record<WebhookKind, { summary: string; type: string; schema: z.ZodType; security: string[] }> =
  {
    s3: {
      summary: "Records of S3 event notifications, from a function or gateway that has the token",
      type: "application/json",
      schema: s3RecordsSchema,
      security: ["webhookToken"],
    },
    sns: {
      summary: "Messages of SNS topics that S3 notifies, authenticated by the signature of SNS",
      type: "text/plain",
      schema: snsMessageSchema,
      security: [],
    },
    eventbridge: {
      summary: 'Events "Object Created" of S3, from an API destination of EventBridge',
      type: "application/json",
      schema: objectCreatedSchema,
      security: ["webhookKey"],
    },
    minio: {
      summary: "Bucket notifications of MinIO",
      type: "application/json",
      schema: minioSchema,
      security: ["webhookToken"],
    },
  };

const answerSchema = z.object({
  /** Number of accepted events; rules apply to them. */
  accepted: z.int().nonnegative(),
  /** Number of deletions, test messages, repetitions, and objects with other keys. */
  ignored: z.int().nonnegative(),
});

const ERRORS: Record<number, string> = {
  400: "Not a message of this sender",
  401: "The sender's secret is missing or wrong",
  403: "Unknown topic, wrong signature, or too old (SNS)",
  404: "Not set up",
  413: `More than ${MAX_WEBHOOK_BYTES} bytes`,
  503: "Cannot be accepted now; send again",
};

/** Describes a POST whose handler reads the body itself: bounded, and after authentication. */
function describePost(kind: WebhookKind, path: string): RouteConfig {
  const { summary, type, schema, security } = BODIES[kind];
  const errors = Object.entries(ERRORS).map(([status, description]) => [
    status,
    { description, content: { "application/json": { schema: errorSchema } } },
  ]);
  return {
    method: "post",
    path,
    summary,
    security: security.map((scheme) => ({ [scheme]: [] })),
    request: { body: { required: true, content: { [type]: { schema } } } },
    responses: {
      200: { description: "Taken", content: { "application/json": { schema: answerSchema } } },
      ...Object.fromEntries(errors),
    },
  };
}
