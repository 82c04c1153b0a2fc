import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A web server for callbacks; it rejects the first call like a server that is down. */
export interface CallbackHost {
  host: string;
  received: { path: string; body: string; signature: string }[];
  close(): Promise<void>;
}

export async function openCallbackHost(): Promise<CallbackHost> {
  const received: CallbackHost["received"] = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const signature = String(request.headers["x-tilewright-signature"]);
    received.push({ path: request.url!, body, signature });
    response.writeHead(received.length === 1 ? 503 : 204).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
