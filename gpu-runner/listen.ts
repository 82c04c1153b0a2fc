import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import type { Hono } from "hono";
import { JobError } from "../src/orchestrator/errors.ts";
import { HttpError, toErrorBody } from "../src/service/http-error.ts";
import { withReserve } from "./connections.ts";

/**
 * Serves `app` over HTTP.
 * @param maxConnections connections for work; a reserve for health checks comes on top
 * @returns the server once it listens, and its address
 * @throws {JobError} if the address is taken
 */
export async function listen(
  // biome-ignore lint/suspicious/noExplicitAny: the environment of the app's handlers does not matter here
  app: Hono<any>,
  { host, port, maxConnections }: { host: string; port: number; maxConnections: number },
): Promise<{ server: Server; url: URL }> {
  const badRequest = new HttpError(400, "bad_request", "invalid HTTP request");
  const reserve = withReserve(
    maxConnections,
    getRequestListener(app.fetch, {
      errorHandler: () => Response.json(toErrorBody(badRequest), { status: 400 }),
    }),
  );
  const server = createServer(
    {
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      headersTimeout: 20_000,
      requestTimeout: 0,
      connectionsCheckingInterval: 5000,
    },
    reserve.listener,
  );
  reserve.watch(server);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
  } catch (cause) {
    server.close();
    throw new JobError(
      `cannot listen at ${host}:${port} (${(cause as NodeJS.ErrnoException).code}): choose another --host or --port`,
      { cause },
    );
  }
  const bound = server.address() as AddressInfo;
  const address = bound.family === "IPv6" ? `[${bound.address}]` : bound.address;
  return { server, url: new URL(`http://${address}:${bound.port}`) };
}
