import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ObjectChangedError } from "../../storage/errors.ts";
import { isInside, type ViewRoot } from "./view-roots.ts";
import { openWebAssets, SECURITY_HEADERS, type WebAssets } from "./web-assets.ts";

export interface ViewServerOptions {
  /** 0 takes any free port. */
  port: number;
  /** What the page asks for with every request of data. */
  token: string;
  /** Answer of `/v1/view`. */
  session: object;
  /** By the name that addresses use. */
  roots: ReadonlyMap<string, ViewRoot>;
  /** Of a cohort: answer of `/v1/view/scan?row=`, after its roots were added. Undefined: the row has no results. */
  openRow?(row: number): Promise<object | undefined>;
  /** Directory of the built web app. */
  assets: string;
  log(line: string): void;
}

export interface ViewServer {
  url: URL;
  close(): Promise<void>;
}

/** Most bytes of one response: a browser asks for ranges, and whole objects are chunks and small files. */
const MAX_BYTES = 64 * 2 ** 20;
/** Keys of one listing: more than any series has slices. */
const MAX_KEYS = 100_000;

/**
 * Serves the web app and the bytes of one scan to this machine: on the loopback interface only, to requests that name
 * it as their host (another name would be a rebound one), and data only with the token.
 */
export async function startViewServer(options: ViewServerOptions): Promise<ViewServer> {
  const assets = await openWebAssets(options.assets);
  const server = createServer((request, response) => {
    handle(options, assets, request, response).catch((error: Error) => {
      const isChanged = error instanceof ObjectChangedError;
      if (!isChanged) options.log(`${request.method} ${request.url}: ${error.message}`);
      if (response.headersSent) return void response.destroy();
      send(response, isChanged ? 412 : 502, isChanged ? "the file has changed" : "the file cannot be read");
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return { url: new URL(`http://127.0.0.1:${port}`), close: () => closeServer(server) };
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}

async function handle(
  { token, session, roots, openRow }: ViewServerOptions,
  assets: WebAssets,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("Allow", "GET, HEAD");
    return send(response, 405, "only GET and HEAD are answered here");
  }
  const port = request.socket.localPort;
  if (!["127.0.0.1", "localhost"].map((name) => `${name}:${port}`).includes(request.headers.host ?? ""))
    return send(response, 421, "this server answers to 127.0.0.1 only");
  const [target = "", query = ""] = (request.url ?? "").split("?", 2);
  if (!target.startsWith("/v1/")) return assets.handle(request, response);
  if (!hasToken(request, token)) return send(response, 401, "the key of this page is missing or wrong");
  if (target === "/v1/view") return sendJson(request, response, session);
  if (target === "/v1/view/scan" && openRow) {
    const row = new URLSearchParams(query).get("row") ?? "";
    const opened = /^\d{1,6}$/.test(row) ? await openRow(Number(row)) : undefined;
    return opened ? sendJson(request, response, opened) : send(response, 404, "nothing is there");
  }
  const match = /^\/v1\/view\/(data|list)\/([a-z]+\d*)(?:\/(.+))?$/.exec(target);
  const root = match && roots.get(match[2]!);
  if (!match || !root) return send(response, 404, "nothing is there");
  if (match[1] === "list") {
    const prefix = new URLSearchParams(query).get("prefix") ?? "";
    return sendJson(request, response, await listKeys(root, prefix));
  }
  const key = decodeKey(match[3] ?? "");
  if (key === undefined || !(await isInside(root, key))) return send(response, 404, "nothing is there");
  return sendObject(root, key, request, response);
}

function hasToken(request: IncomingMessage, token: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
  return timingSafeEqual(digest(given), digest(token));
}

/** Encoded slashes and damaged escapes name nothing. */
function decodeKey(path: string): string | undefined {
  try {
    const segments = path.split("/").map(decodeURIComponent);
    return segments.some((segment) => segment.includes("/")) ? undefined : segments.join("/");
  } catch {
    return undefined;
  }
}

async function listKeys(root: ViewRoot, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  if (!prefix.startsWith(`${root.key}/`)) return keys;
  for await (const key of root.store.list(prefix)) {
    if (keys.length >= MAX_KEYS) break;
    if (await isInside(root, key)) keys.push(key);
  }
  return keys;
}

async function sendObject(
  { store }: ViewRoot,
  key: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const info = await store.head(key);
  if (info === undefined) return send(response, 404, "nothing is there");
  const ifMatch = request.headers["if-match"];
  if (ifMatch !== undefined && ifMatch !== info.etag) return send(response, 412, "the file has changed");
  const range = parseRange(request.headers.range, info.byteLength);
  const headers: Record<string, string> = {
    ...SECURITY_HEADERS,
    "Accept-Ranges": "bytes",
    ETag: info.etag,
    // Pixels of a scan are not for the browser's disk.
    "Cache-Control": "no-store",
    "Content-Type": "application/octet-stream",
  };
  if (range === "unsatisfiable") {
    response.writeHead(416, { ...headers, "Content-Range": `bytes */${info.byteLength}` }).end();
    return;
  }
  const { first, length } = range ?? { first: 0, length: info.byteLength };
  if (length > MAX_BYTES) return send(response, 413, "the range is too large; ask for parts of it");
  if (range) headers["Content-Range"] = `bytes ${first}-${first + length - 1}/${info.byteLength}`;
  headers["Content-Length"] = String(length);
  const bytes =
    request.method === "HEAD" ? undefined : await store.getRange(key, first, length, { ifMatch: info.etag });
  if (request.method !== "HEAD" && bytes === undefined) throw new ObjectChangedError(key);
  response.writeHead(range ? 206 : 200, headers);
  response.end(bytes);
}

/** One range of `Range: bytes=…`; anything else is answered whole (RFC 9110, 14.2). */
function parseRange(
  header: string | undefined,
  byteLength: number,
): { first: number; length: number } | "unsatisfiable" | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const isSuffix = match[1] === "";
  const first = isSuffix ? Math.max(0, byteLength - Number(match[2])) : Number(match[1]);
  const last = isSuffix || match[2] === "" ? byteLength - 1 : Math.min(Number(match[2]), byteLength - 1);
  return first > last || first >= byteLength ? "unsatisfiable" : { first, length: last - first + 1 };
}

function sendJson(request: IncomingMessage, response: ServerResponse, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(200, {
    ...SECURITY_HEADERS,
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "Content-Length": Buffer.byteLength(body),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function send(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, {
    ...SECURITY_HEADERS,
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-store",
  });
  response.end(`${message}\n`);
}
