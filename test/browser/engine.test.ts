import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openEngine } from "../../src/inference/engine/open-engine.ts";
import { toIntensityNormalization } from "../../src/inference/intensity-normalization.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import { openChromium, openPage } from "./chromium.ts";

/** The bundled models on the engine in Chromium: the bytes of Node, which are those of workerd (test/edge/segment.test.ts). */
const MODELS = join(import.meta.dirname, "../../models");
const TYPES: Record<string, string> = { html: "text/html", js: "text/javascript", wasm: "application/wasm" };
let server: Server;
let browser: Browser;
let url: string;

beforeAll(async () => {
  const built = (await build({
    root: join(import.meta.dirname, "engine-page"),
    logLevel: "warn",
    build: { write: false, target: "es2023", assetsInlineLimit: 0 },
  })) as { output: { fileName: string; code?: string; source?: string | Uint8Array }[] };
  const files = new Map(
    built.output.map(({ fileName, code, source }) => [`/${fileName}`, code ?? source ?? ""]),
  );
  server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://page");
    const name = pathname === "/" ? "/index.html" : pathname;
    try {
      const body = files.get(name) ?? readFileSync(join(MODELS, name.replace(/^\/models\//, "")));
      response.setHeader("Content-Type", TYPES[name.split(".").at(-1)!] ?? "application/octet-stream");
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  browser = await openChromium();
});
afterAll(async () => {
  await browser?.close();
  server?.close();
});

/** What `engine-page/main.ts` sets on its window. */
interface PageScope {
  runGolden(address: string, variant: string): Promise<{ runtime: string; bytes: number[] }>;
}

describe("the engine in Chromium", () => {
  it.each(["nuclei", "hippocampus"])("gives the bytes of Node on the golden tile of %s", async (name) => {
    const { page, problems, close } = await openPage(browser, url);
    try {
      const there = await page.evaluate(
        ([address, variant]) => (globalThis as unknown as PageScope).runGolden(address!, variant!),
        [new URL(`models/${name}/`, url).href, "int4-edge"],
      );
      expect(problems).toEqual([]);
      const model = await loadModel(name, { variant: "int4-edge" });
      const { spec, input, output } = model.golden;
      const segmenter = await openEngine(model);
      const scaling = toIntensityNormalization(model.manifest, spec.input.low, spec.input.high);
      const here = await segmenter.segmentEncoded(
        { data: input, shape: spec.input.shape },
        { scaling, precision: "u8" },
      );
      expect(there.runtime).toBe(segmenter.info.runtime);
      const bytes = Buffer.concat(here.data as Uint8Array[]);
      expect(bytes).toHaveLength(output.length);
      expect(Buffer.from(there.bytes).equals(bytes)).toBe(true);
    } finally {
      await close();
    }
  });
});
