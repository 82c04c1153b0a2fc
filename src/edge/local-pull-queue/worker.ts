import type { DurableObjectNamespace, MessageBatch, Queue } from "@cloudflare/workers-types";
import { Hono } from "hono";
import * as z from "zod";
import { requireBearer } from "../../service/bearer.ts";
import { HttpError, toHttpError } from "../../service/http-error.ts";
import { configuredToken } from "../shared/configured-token.ts";
import { parseJson } from "../shared/json-body.ts";
import { readTextBody } from "../shared/read-text-body.ts";
import type { LeasedMessages } from "./leased-messages.ts";

export { LeasedMessages } from "./leased-messages.ts";

interface Bindings {
  MESSAGES: DurableObjectNamespace;
  DEAD: Queue;
  TOKEN?: string;
}

/** Enough for 100 settled messages. */
const MAX_BODY_BYTES = 2 ** 20;

const pullSchema = z.object({
  batch_size: z.int().min(1).max(100).default(10),
  visibility_timeout_ms: z
    .int()
    .min(1000)
    .max(12 * 3600 * 1000)
    .default(30_000),
});
const settleSchema = z.object({
  acks: z.array(z.object({ lease_id: z.string() })).default([]),
  retries: z
    .array(z.object({ lease_id: z.string(), delay_seconds: z.int().min(0).max(43_200).default(0) }))
    .default([]),
});

/**
 * The two calls of Cloudflare's API for pull consumers, over a queue of the local stack:
 * https://developers.cloudflare.com/queues/configuration/pull-consumers/
 */
const app = new Hono<{ Bindings: Bindings }>();
app.use(async (c, next) => {
  await requireBearer(c.req.header("Authorization"), configuredToken(c.env.TOKEN));
  await next();
});
app.post("/client/v4/accounts/:account/queues/:queue/messages/pull", async (c) => {
  const { batch_size, visibility_timeout_ms } = await read(c.req.raw, pullSchema);
  const messages = getMessages(c.env, c.req.param("queue"));
  for (const body of await messages.dead()) await c.env.DEAD.send(JSON.parse(body));
  const leased = await messages.lease(batch_size, visibility_timeout_ms);
  return answer({
    message_backlog_count: await messages.backlog(),
    messages: leased.map(({ body, attempts, lease }) => ({
      // Like the platform for messages sent as JSON.
      body: btoa(body),
      attempts,
      lease_id: lease,
      metadata: { "CF-Content-Type": "json" },
    })),
  });
});
app.post("/client/v4/accounts/:account/queues/:queue/messages/ack", async (c) => {
  const { acks, retries } = await read(c.req.raw, settleSchema);
  await getMessages(c.env, c.req.param("queue")).settle(
    acks.map((a) => a.lease_id),
    retries.map((r) => ({ lease: r.lease_id, delaySeconds: r.delay_seconds })),
  );
  return answer({ ackCount: acks.length, retryCount: retries.length });
});
app.notFound(() => toErrorResponse(new HttpError(404, "not_found", "there is no such call")));
app.onError((error) => toErrorResponse(toHttpError(error)));

export default {
  fetch: (request: Request, env: Bindings) => app.fetch(request, env),

  async queue(batch: MessageBatch<unknown>, env: Bindings): Promise<void> {
    for (const { id, body } of batch.messages)
      await getMessages(env, batch.queue).add(id, JSON.stringify(body));
    batch.ackAll();
  },
};

function getMessages({ MESSAGES }: Bindings, queue: string) {
  return MESSAGES.get(MESSAGES.idFromName(queue)) as unknown as Pick<
    LeasedMessages,
    "add" | "lease" | "backlog" | "settle" | "dead"
  >;
}

async function read<T extends z.ZodType>(request: Request, schema: T): Promise<z.output<T>> {
  const parsed = schema.safeParse(
    parseJson(new TextEncoder().encode(await readTextBody(request, MAX_BODY_BYTES))),
  );
  if (parsed.success) return parsed.data;
  throw new HttpError(400, "bad_request", z.prettifyError(parsed.error));
}

function answer(result: unknown): Response {
  return Response.json({ success: true, errors: [], messages: [], result });
}

function toErrorResponse({ status, message, headers }: HttpError): Response {
  return Response.json(
    { success: false, errors: [{ code: status, message }], result: null },
    { status, headers },
  );
}
