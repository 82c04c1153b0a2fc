import { OpenAPIHono } from "@hono/zod-openapi";
import { type AccessEnv, requireScope } from "../../../../src/edge/jobs/auth/require-scope.ts";
import type { StorageEvent } from "../../../../src/edge/jobs/events/storage-event.ts";
import { createWebhookRoutes, type WebhookEnv } from "../../../../src/edge/jobs/events/webhook-routes.ts";
import { openSourceStore, type SourceBindings } from "../../../../src/edge/sources/open-source-store.ts";
import { toHttpError } from "../../../../src/service/http-error.ts";

type Env = AccessEnv & WebhookEnv & { Bindings: SourceBindings };

const accepted: StorageEvent[] = [];
const remembered = new Set<string>();

const app = new OpenAPIHono<Env>();
app.route(
  "/",
  createWebhookRoutes<Env>(() => ({
    accept: async (event) => void accepted.push(event),
    seen: async (id) => remembered.has(id),
    remember: async (id) => void remembered.add(id),
  })),
);
app.get("/accepted", (c) => c.json(accepted));
/** Bytes 1 to 3 of a source, with the size and etag of the whole. */
app.get("/read", requireScope("read"), async (c) => {
  const { store, key, name, uri } = openSourceStore(c.env, c.req.query("uri")!);
  const info = await store.head(key);
  const bytes = info && (await store.getRange(key, 1, 3, { ifMatch: info.etag }));
  return c.json({ name, uri, info, text: bytes && new TextDecoder().decode(bytes) });
});
app.onError((error, c) => {
  const { status, code, message, headers } = toHttpError(error);
  return c.json({ error: { code, message, text: error.message } }, status, headers);
});
export default app;
