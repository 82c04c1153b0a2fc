import { z } from "@hono/zod-openapi";
import { LRUCache } from "lru-cache";
import { HttpError } from "../../../service/http-error.ts";
import { createOpenApiApp, errorContent } from "../../shared/open-api.ts";
import { fingerprintSource } from "../../sources/fingerprint-source.ts";
import { openSourceStore } from "../../sources/open-source-store.ts";
import type { Bindings } from "../context/bindings.ts";
import { getUploadLedger, noSuchUpload } from "../uploads/ledger-calls.ts";
import { UPLOAD_ID } from "../uploads/upload-plan.ts";
import { describeSourceRoute, type ReadableSource, sendSource } from "./source-routes.ts";

const LOOK_UP_TIMEOUT_MS = 20_000;
/** Cached sources: a complete upload never changes, and every range of it needs one. */
const KEPT = 32;
const kept = new LRUCache<string, ReadableSource>({ max: KEPT });

/** The scan of a complete upload by range, so that a page can show it and choose a region before there is a job. */
export function createUploadSourceRoutes() {
  const app = createOpenApiApp<{ Bindings: Bindings }>();
  // Documented by hand, matched by Hono.
  app.openAPIRegistry.registerPath(
    describeSourceRoute(
      "/v1/uploads/{id}/source/{path}",
      "The scan of a complete upload, by range",
      z.object({ id: z.string() }),
      {
        401: errorContent("the token is missing or wrong"),
        403: errorContent("the token lacks the scope source"),
        404: errorContent("there is no such upload or object"),
        409: errorContent("the upload is not complete"),
      },
    ),
  );
  app.get("/v1/uploads/:id/source/:path{.+}", async (c) =>
    sendSource(c, await findUploadSource(c.env, c.req.param("id"))),
  );
  return app;
}

/** @throws {HttpError} 404 without such an upload, 409 while parts of it are missing */
async function findUploadSource(env: Bindings, id: string): Promise<ReadableSource> {
  const known = kept.get(id);
  if (known) return known;
  const upload =
    UPLOAD_ID.test(id) && env.UPLOADS ? await getUploadLedger(env.UPLOADS, id).read() : undefined;
  if (!upload) throw noSuchUpload();
  if (upload.state !== "complete")
    throw new HttpError(409, "incomplete", "the upload is not complete: send its missing parts first");
  const address = `r2://${upload.bucket}/${upload.key}`;
  const opened = openSourceStore(env, address);
  const info = await fingerprintSource(opened, AbortSignal.timeout(LOOK_UP_TIMEOUT_MS));
  const found = { address, source: { name: opened.name, uri: opened.uri, ...info } };
  kept.set(id, found);
  return found;
}
