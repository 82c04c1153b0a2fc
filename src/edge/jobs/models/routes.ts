import { createRoute, z } from "@hono/zod-openapi";
import { HttpError } from "../../../service/http-error.ts";
import { createOpenApiApp, errorContent, jsonContent } from "../../shared/open-api.ts";
import type { Bindings } from "../context/bindings.ts";
import { type ConfiguredModel, getConfiguredModel } from "../context/configured-model.ts";
import { getCpuMsPerWindow } from "../lifecycle/estimate-cost.ts";
import { outputPath } from "../outputs/output-path.ts";
import { sendObject } from "../outputs/send-object.ts";

const failures = {
  401: errorContent("the token is missing or wrong"),
  403: errorContent("the token lacks the scope"),
  503: errorContent("no model is configured, or its package is wrong"),
};

const describe = createRoute({
  method: "get",
  path: "/v1/model",
  summary: "The model that jobs run, and what the cost of a window is computed from",
  responses: {
    200: jsonContent(
      z
        .object({
          name: z.string(),
          version: z.string(),
          variant: z.string(),
          hash: z.string(),
          cpuMsPerWindow: z
            .number()
            .openapi({ description: "CPU time of a window in the edge function, for estimates of cost." }),
        })
        .openapi("ServedModel"),
      "the model",
    ),
    ...failures,
  },
});

/**
 * `/v1/model`: the package that jobs run, so that a page can plan a region and segment a single window before a job is paid for.
 * Files need the scope `submit`: a token that may start jobs with the model may also read it.
 */
export function createModelRoutes() {
  const app = createOpenApiApp<{ Bindings: Bindings }>();

  app.openapi(describe, async (c) => {
    const { manifest, variantName, hash } = await getConfiguredModel(c.env);
    const { name, version } = manifest;
    c.header("Cache-Control", "no-store");
    return c.json(
      { name, version, variant: variantName, hash, cpuMsPerWindow: getCpuMsPerWindow(c.env) },
      200,
    );
  });

  // OpenAPI templates have no paths of several segments: documented by hand, matched by Hono.
  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/v1/model/files/{path}",
    summary: "model.json, or a file of the variant that jobs run or of its golden tile; whole or by range",
    request: {
      params: z.object({
        path: z.string().openapi({ description: "As in model.json; it may contain slashes." }),
      }),
      headers: z.object({ Range: z.string().optional() }),
    },
    responses: {
      200: { description: "the file", content: { "application/octet-stream": { schema: z.any() } } },
      206: { description: "the range", content: { "application/octet-stream": { schema: z.any() } } },
      404: errorContent("the model has no such file"),
      416: errorContent("the range starts behind the end of the file"),
      ...failures,
    },
  });
  app.get("/v1/model/files/:path{.+}", async (c) => {
    const encoded = new URL(c.req.url).pathname.split("/files/").slice(1).join("/files/");
    const path = outputPath(encoded);
    const model = await getConfiguredModel(c.env);
    const isFile = path !== undefined && filesOf(model).has(path);
    const found = isFile ? await sendObject(c, c.env.MODELS!, `${c.env.MODEL}/${path}`) : undefined;
    if (!found) throw new HttpError(404, "not_found", "the model has no such file");
    // A browser would keep the first byte of a file, by which its size is asked, and give it for the whole.
    found.headers.set("Cache-Control", "no-store, no-transform");
    return found;
  });
  return app;
}

/** The files that segmenting with the configured variant needs: a bucket of models can hold others. */
function filesOf({ manifest, variantName }: ConfiguredModel): Set<string> {
  const { files, golden = manifest.golden } = manifest.variants[variantName]!;
  return new Set([
    "model.json",
    ...files.map(({ path }) => path),
    ...(golden ? [golden.input.path, golden.output.path] : []),
  ]);
}
