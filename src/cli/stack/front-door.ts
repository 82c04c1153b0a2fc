import {
  Agent,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

export interface DoorOptions {
  host: string;
  /** 0 takes any free port. */
  port: number;
  /** Address of the server behind the proxy. */
  target: URL;
  /** Whether a path may pass. The path has no query and is normalized. */
  allows: (path: string) => boolean;
  /** Answers requests for the pages of the web app, which need no Worker. */
  pages?: { has(path: string): boolean; handle(incoming: IncomingMessage, outgoing: ServerResponse): void };
  /** A request whose body sends nothing for this long is ended; default 60 s. */
  bodyIdleMs?: number;
}

export interface Door {
  url: URL;
  close(): Promise<void>;
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** Headers that are not forwarded: hop by hop (RFC 9110, 7.6.1), and those that a server trusts from its proxy. */
const DROPPED =
  /^(?:mf-|cf-|x-forwarded-|forwarded$|x-real-ip$|connection$|keep-alive$|proxy-|te$|trailer$|transfer-encoding$|upgrade$|expect$|http2-settings$)/;
const BODY_IDLE_MS = 60_000;
const HEADERS_MS = 15_000;
/** Longer than the pauses of any connection that uploads. */
const MIN_BODY_BYTES = 16 * 1024;
/** Twice the largest part of an upload. */
const MAX_BODY_BYTES = 128 * 2 ** 20;
/** Connections at a time: each takes a few KB, and one machine serves far fewer. */
const MAX_CONNECTIONS = 2000;

/**
 * A reverse proxy before the Workers, and the only way in. It forwards the service's own routes and rejects everything
 * else: miniflare's development routes and headers would open every object to anyone.
 */
export async function openDoor(options: DoorOptions): Promise<Door> {
  // One connection for each request: the server closes a connection whose body it rejected early.
  const agent = new Agent({ keepAlive: false });
  const server = createServer(
    { headersTimeout: HEADERS_MS, requestTimeout: 0, connectionsCheckingInterval: 5000 },
    (incoming, outgoing) => {
      const { allows, pages } = options;
      const isPage = isRead(incoming) && pages?.has(pathOf(incoming)) === true;
      const refusal = checkRequest(incoming, (path) => isPage || allows(path));
      if (refusal) return refuse(incoming, outgoing, refusal);
      if (isPage) return pages.handle(incoming, outgoing);
      pass(incoming, outgoing, options, agent);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === "ECONNRESET") return void socket.destroy();
    const late = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
    const message = late
      ? "the head of the request did not come in time"
      : "this is no HTTP that is served here";
    const body = JSON.stringify({ error: { code: late ? "head_timeout" : "bad_request", message } });
    const status = late ? "408 Request Timeout" : "400 Bad Request";
    socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    );
  });
  // CONNECT and protocol upgrades are rejected.
  server.on("connect", (_incoming, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host === "*" ? undefined : options.host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const { address, family, port } = server.address() as AddressInfo;
  const everywhere = address === "::" || address === "0.0.0.0";
  const host = everywhere ? "127.0.0.1" : family === "IPv6" ? `[${address}]` : address;
  return {
    url: new URL(`http://${host}:${port}`),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      agent.destroy();
      await closed;
    },
  };
}

function isRead({ method }: IncomingMessage): boolean {
  return method === "GET" || method === "HEAD";
}

function pathOf({ url = "" }: IncomingMessage): string {
  return url.replace(/\?.*$/s, "");
}

interface Refusal {
  status: number;
  code: string;
  message: string;
  headers?: Record<string, string>;
}

function checkRequest(incoming: IncomingMessage, allows: DoorOptions["allows"]): Refusal | undefined {
  const { method = "", url = "", headers } = incoming;
  if (!METHODS.has(method)) {
    const Allow = [...METHODS].join(", ");
    return {
      status: 405,
      code: "method_not_allowed",
      message: `${method} is not answered here`,
      headers: { Allow },
    };
  }
  const stated = Number(headers["content-length"] ?? 0);
  if (stated > MAX_BODY_BYTES) {
    return {
      status: 413,
      code: "too_large",
      message: `the body has ${stated} bytes, at most ${MAX_BODY_BYTES} are taken in one request`,
    };
  }
  const path = pathOf(incoming);
  const isPlain = path.startsWith("/") && !path.startsWith("//") && plainPath(path) === path;
  if (!isPlain || /\0/.test(url)) {
    return {
      status: 400,
      code: "bad_request",
      message: "the path must begin with one / and hold no . or .. part, no backslash and no #",
    };
  }
  if (allows(path)) return undefined;
  return {
    status: 404,
    code: "not_found",
    message: "there is nothing here; the routes are those of /v1/openapi.json",
  };
}

/** The normalized path, as the next parser sees it. */
function plainPath(path: string): string | undefined {
  return URL.canParse(path, "http://door") ? new URL(path, "http://door").pathname : undefined;
}

function pass(incoming: IncomingMessage, outgoing: ServerResponse, options: DoorOptions, agent: Agent): void {
  const { target, bodyIdleMs = BODY_IDLE_MS } = options;
  const { method, url: path, headers } = incoming;
  const behind = request({
    agent,
    host: target.hostname,
    port: target.port,
    method,
    path,
    headers: passedOn(headers),
  });
  let arrived = 0;
  const slow = setInterval(() => {
    if (arrived >= MIN_BODY_BYTES) {
      arrived = 0;
      return;
    }
    refuse(incoming, outgoing, {
      status: 408,
      code: "body_timeout",
      message: `less than ${MIN_BODY_BYTES} bytes of the body came in ${bodyIdleMs / 1000} s; send smaller parts or over a faster connection`,
      headers: { Connection: "close" },
    });
    behind.destroy();
  }, bodyIdleMs);
  incoming.on("data", (chunk: Buffer) => {
    arrived += chunk.length;
  });
  incoming.on("end", () => clearInterval(slow));
  behind.on("response", (answer) => {
    if (outgoing.headersSent) return void answer.destroy();
    // Our Workers respond with JSON. HTML is miniflare's error page, which contains a stack trace.
    if (answer.statusCode! >= 500 && !answer.headers["content-type"]?.startsWith("application/json")) {
      answer.resume();
      return refuse(incoming, outgoing, {
        status: 500,
        code: "internal",
        message: "internal error; see the log of the service",
      });
    }
    outgoing.writeHead(answer.statusCode!, passedOn(answer.headers));
    // The response came before the end of the body: discard the rest.
    if (!incoming.complete) incoming.unpipe(behind).resume();
    answer.pipe(outgoing);
    answer.on("error", () => outgoing.destroy());
    answer.on("close", () => answer.complete || outgoing.destroy());
  });
  behind.on("error", () => {
    clearInterval(slow);
    if (outgoing.headersSent || outgoing.destroyed) return void outgoing.destroy();
    if (!incoming.complete && behind.reusedSocket === false && behind.socket?.bytesWritten) {
      return refuse(incoming, outgoing, {
        status: 413,
        code: "body_refused",
        message:
          "the body was refused before its end, and the reason was lost: send it with its length, in smaller parts",
        headers: { Connection: "close" },
      });
    }
    refuse(incoming, outgoing, {
      status: 503,
      code: "unavailable",
      message: "the service behind this address does not answer; it may be starting again, try again soon",
      headers: { "Retry-After": "5" },
    });
  });
  // The client disconnected: end the request behind.
  outgoing.on("close", () => {
    clearInterval(slow);
    if (!outgoing.writableFinished) behind.destroy();
  });
  incoming.pipe(behind);
}

function passedOn(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = new Set(
    (headers.connection ?? "")
      .toLowerCase()
      .split(",")
      .map((name) => name.trim()),
  );
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !DROPPED.test(name) && !named.has(name)),
  );
}

function refuse(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { status, code, message, headers }: Refusal,
): void {
  if (outgoing.headersSent) return void outgoing.destroy();
  const body = JSON.stringify({ error: { code, message } });
  // Do not wait for the rest of the body.
  const isWhole = incoming.complete || incoming.headers["content-length"] === undefined;
  outgoing.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(body),
    ...(isWhole ? {} : { Connection: "close" }),
    ...headers,
  });
  outgoing.end(incoming.method === "HEAD" ? undefined : body);
  incoming.resume();
}
