import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

export interface FakeQueue {
  url: URL;
  /** What is handed out, in this order. */
  waiting: { lease: string; body: unknown }[];
  /** Awaited before a pull is answered. */
  beforeAnswer: () => Promise<void>;
  /** What pulls say of the backlog; default nothing. */
  backlog: number | undefined;
  pulls: number;
  acks: string[];
  retries: { lease_id: string; delay_seconds: number }[];
  close(): Promise<void>;
}

/** A queue as Cloudflare's API shows it, and the `/v1/work` routes of a job service whose shards are all done. */
export async function openFakeQueue(): Promise<FakeQueue> {
  const server = createServer(async (request, response) => {
    const answer = (body: object) =>
      void response.setHeader("Content-Type", "application/json").end(JSON.stringify(body));
    const body = await read(request);
    if (request.url!.endsWith("/messages/pull")) {
      queue.pulls++;
      const leased = queue.waiting.splice(0, body.batch_size);
      await queue.beforeAnswer();
      return answer({
        success: true,
        result: {
          ...(queue.backlog !== undefined && { message_backlog_count: queue.backlog }),
          messages: leased.map(({ lease, body }) => ({
            lease_id: lease,
            attempts: 1,
            body: JSON.stringify(body),
          })),
        },
      });
    }
    if (request.url!.endsWith("/messages/ack")) {
      queue.acks.push(...body.acks.map((ack: { lease_id: string }) => ack.lease_id));
      queue.retries.push(...body.retries);
      return answer({ success: true, result: {} });
    }
    return answer({ run: false });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const queue: FakeQueue = {
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    waiting: [],
    beforeAnswer: async () => {},
    backlog: undefined,
    pulls: 0,
    acks: [],
    retries: [],
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return queue;
}

async function read(request: IncomingMessage) {
  let text = "";
  for await (const part of request) text += part;
  return JSON.parse(text || "{}");
}
