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
  /** 0: any free one. */
  port: number;
  /** What stands behind the door. */
  target: URL;
  /** Whether a path may pass; it has no query, and no form but its plain one. */
  allows: (path: string) => boolean;
  /** In which some of a body must come, each time, or it is given up; default 60 s. */
  bodyIdleMs?: number;
}

export interface Door {
  url: URL;
  close(): Promise<void>;
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** Hop by hop (RFC 9110, 7.6.1), and what a server behind a door might take for the door's own words. */
const DROPPED =
  /^(?:mf-|cf-|x-forwarded-|forwarded$|x-real-ip$|connection$|keep-alive$|proxy-|te$|trailer$|transfer-encoding$|upgrade$|expect$|http2-settings$)/;
const BODY_IDLE_MS = 60_000;
const HEADERS_MS = 15_000;
/** Slower than any line that an upload goes over. */
const MIN_BODY_BYTES = 16 * 1024;
/** Twice the largest part of an upload. */
const MAX_BODY_BYTES = 128 * 2 ** 20;
/** Each takes a few KB here; far more than one machine can serve. */
const MAX_CONNECTIONS = 2000;

/**
 * The only way in to what runs behind it: routes that are the service's own pass, everything else is answered here. What
 * stands behind has routes and headers for development, which open every object to anyone.
 */
export async function openDoor(options: DoorOptions): Promise<Door> {
  // A connection for each request: one whose body was refused before its end is closed by who stands behind.
  const agent = new Agent({ keepAlive: false });
  const server = createServer(
    { headersTimeout: HEADERS_MS, requestTimeout: 0, connectionsCheckingInterval: 5000 },
    (incoming, outgoing) => {
      const refusal = refusalOf(incoming, options.allows);
      if (refusal) return refuse(incoming, outgoing, refusal);
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
  // A tunnel or another protocol is not offered.
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

interface Refusal {
  status: number;
  code: string;
  message: string;
  headers?: Record<string, string>;
}

function refusalOf(
  { method = "", url = "", headers }: IncomingMessage,
  allows: DoorOptions["allows"],
): Refusal | undefined {
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
  const path = url.replace(/\?.*$/s, "");
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

/** The path as whoever parses it next would see it. */
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
    // Not of our Workers, which answer in JSON: a page for developers, with the trace in it.
    if (answer.statusCode! >= 500 && !answer.headers["content-type"]?.startsWith("application/json")) {
      answer.resume();
      return refuse(incoming, outgoing, {
        status: 500,
        code: "internal",
        message: "internal error; see the log of the service",
      });
    }
    outgoing.writeHead(answer.statusCode!, passedOn(answer.headers));
    // Answered before its end, the rest of a body is nobody's.
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
  // Whoever goes away needs nothing any more.
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
  // What of the body is not here yet is not waited for.
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
