import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { HttpError, toErrorBody } from "../src/service/http-error.ts";

/** Extra connections for health checks, which send at once and close soon. */
const RESERVED_CONNECTIONS = 32;
const FIRST_REQUEST_MS = 2000;
const HEALTH_PATHS = new Set(["/healthz", "/readyz"]);

type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

/**
 * Reserves connections for health checks. Beyond `limit` open connections, further ones get responses to health checks
 * only; if there are too many of those, the oldest is closed.
 */
export function withReserve(
  limit: number,
  listener: Listener,
): { listener: Listener; watch(server: Server): void } {
  let open = 0;
  const reserved = new Set<Socket>();
  return {
    listener(incoming, outgoing) {
      if (!reserved.has(incoming.socket)) return listener(incoming, outgoing);
      outgoing.setHeader("Connection", "close");
      if (HEALTH_PATHS.has(incoming.url?.replace(/\?.*$/s, "") ?? "")) return listener(incoming, outgoing);
      const busy = new HttpError(
        503,
        "busy",
        `${limit} connections are open, the limit of this runner; try again soon`,
      );
      outgoing.writeHead(503, { "Content-Type": "application/json", "Retry-After": "1" });
      outgoing.end(JSON.stringify(toErrorBody(busy)));
    },
    watch(server) {
      // Above the reserve, for connections that are closing.
      server.maxConnections = limit + 2 * RESERVED_CONNECTIONS;
      server.on("connection", (socket: Socket) => {
        open++;
        socket.once("close", () => {
          open--;
          reserved.delete(socket);
        });
        if (open <= limit) return;
        reserved.add(socket);
        const late = setTimeout(() => socket.destroy(), FIRST_REQUEST_MS);
        socket.once("data", () => clearTimeout(late));
        socket.once("close", () => clearTimeout(late));
        const [oldest] = reserved;
        if (reserved.size > RESERVED_CONNECTIONS) oldest!.destroy();
      });
    },
  };
}
