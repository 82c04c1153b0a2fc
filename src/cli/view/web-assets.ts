import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { JobError } from "../../orchestrator/errors.ts";

/**
 * Headers of every response to a page. Scripts, styles, workers and requests are the server's own; codecs compile
 * WebAssembly; nothing may frame the page.
 */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "Content-Security-Policy": [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** The runtime of the page for networks that the engine cannot run: the published package has it in its dependency only. */
const RUNTIME = /^\/assets\/ort-wasm-simd-threaded-[\w-]+\.wasm$/;

/** Directory of the built web app, beside the compiled sources or in `dist` of a clone. @throws {JobError} */
export function findWebAssets(): string {
  const candidates = ["../../../web", "../../../dist/web"].map((place) =>
    path.resolve(import.meta.dirname, place),
  );
  const found = candidates.find((directory) => existsSync(path.join(directory, "assets")));
  if (found === undefined) throw new JobError("the web app is not built: run npm run build first");
  return found;
}

/** The files of the built web app. */
export interface WebAssets {
  /** Whether a path is a page or an asset. */
  has(path: string): boolean;
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** Pages of the app have addresses of their own and one file. */
const PAGES: ReadonlySet<string> = new Set(["/", "/here", "/job", "/scan", "/cohort", "/docs"]);

/**
 * Serves the files of a directory. They are listed once, so that a path is only looked up, never resolved. Names of
 * assets hold a hash of their content.
 */
export async function openWebAssets(directory: string): Promise<WebAssets> {
  const names = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = new Map<string, string>(
    names
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const file = path.join(entry.parentPath, entry.name);
        return [`/${path.relative(directory, file).split(path.sep).join("/")}`, file] as const;
      }),
  );
  const find = (target: string) =>
    files.get(PAGES.has(target) ? "/index.html" : target) ?? findRuntime(target);
  return {
    has: (target) => find(target) !== undefined,
    async handle(request, response) {
      const target = (request.url ?? "").replace(/\?.*$/s, "");
      const file = find(target);
      const bytes = file && (await readFile(file).catch(() => undefined));
      if (file === undefined || bytes === undefined) {
        response.writeHead(404, { ...SECURITY_HEADERS, "Content-Type": "text/plain; charset=utf-8" });
        return void response.end("nothing is there\n");
      }
      response.writeHead(200, {
        ...SECURITY_HEADERS,
        "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream",
        "Cache-Control": target.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache",
        "Content-Length": bytes.length,
      });
      response.end(request.method === "HEAD" ? undefined : bytes);
    },
  };
}

function findRuntime(target: string): string | undefined {
  if (!RUNTIME.test(target)) return undefined;
  return createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm");
}
