import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { bodyOf, Problem } from "../src/service/problem.ts";

/** Connections beyond those for work. Who watches over the runner sends at once and needs one for a moment. */
const RESERVED = 32;
const FIRST_REQUEST_MS = 2000;
const HEALTH = new Set(["/healthz", "/readyz"]);

type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

/**
 * Health has a door of its own: however many connections are held by work, by slow senders or by nobody, some more are
 * taken for questions after health alone. Of those the oldest goes when there are too many.
 */
export function withReserve(
  most: number,
  listener: Listener,
): { listener: Listener; watch(server: Server): void } {
  let open = 0;
  const reserved = new Set<Socket>();
  return {
    listener(incoming, outgoing) {
      if (!reserved.has(incoming.socket)) return listener(incoming, outgoing);
      outgoing.setHeader("Connection", "close");
      if (HEALTH.has(incoming.url?.replace(/\?.*$/s, "") ?? "")) return listener(incoming, outgoing);
      const busy = new Problem(503, "busy", `${most} connections are open already; try again soon`);
      outgoing.writeHead(503, { "Content-Type": "application/json", "Retry-After": "1" });
      outgoing.end(JSON.stringify(bodyOf(busy)));
    },
    watch(server) {
      // A little above, for those that are just being closed.
      server.maxConnections = most + 2 * RESERVED;
      server.on("connection", (socket: Socket) => {
        open++;
        socket.once("close", () => {
          open--;
          reserved.delete(socket);
        });
        if (open <= most) return;
        reserved.add(socket);
        const late = setTimeout(() => socket.destroy(), FIRST_REQUEST_MS);
        socket.once("data", () => clearTimeout(late));
        socket.once("close", () => clearTimeout(late));
        const [oldest] = reserved;
        if (reserved.size > RESERVED) oldest!.destroy();
      });
    },
  };
}
