import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { decodeMaskBatch, encodeMaskBatch } from "../../../src/tiling/wire/mask-batch.ts";

/** What becomes of the answer to a request for segmentation. */
export type Unruly =
  | "passes"
  /** The connection is cut. */
  | "breaks"
  /** No answer ever comes. */
  | "hangs"
  | "is busy"
  /** Records for other windows than were sent. */
  | "answers for other windows"
  /** Values that are no numbers, where they travel as floats. */
  | "answers with NaN"
  /** Bytes that no softmax gives. */
  | "answers with nothing but zeros"
  /** Records of another shape. */
  | "answers in another shape";

export interface UnrulyProxy {
  url: URL;
  requests: number;
  /** Tells what becomes of the nth request, counted from 0. */
  behave: (nth: number) => Unruly;
  close(): Promise<void>;
}

/** Stands before a real service and spoils some of what it answers. */
export async function openUnrulyProxy(target: URL): Promise<UnrulyProxy> {
  const proxy = { requests: 0, behave: () => "passes" } as unknown as UnrulyProxy;
  const server = createServer((incoming, outgoing) => {
    const isWork = incoming.url === "/v1/segment";
    const how = isWork ? proxy.behave(proxy.requests++) : "passes";
    if (how === "breaks") return void outgoing.destroy();
    if (how === "hangs") return void incoming.resume();
    if (how === "is busy") {
      incoming.resume();
      const body = JSON.stringify({ error: { code: "busy", message: "busy" } });
      return void outgoing.writeHead(503, { "Content-Type": "application/json" }).end(body);
    }
    const { url, method, headers } = incoming;
    const onward = request(
      new URL(url!, target),
      { method, headers: { ...headers, host: target.host } },
      (answer) => {
        const parts: Buffer[] = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("end", () => {
          const body = spoil(how, new Uint8Array(Buffer.concat(parts)));
          const { "transfer-encoding": _, ...rest } = answer.headers;
          outgoing.writeHead(answer.statusCode!, { ...rest, "content-length": body.length }).end(body);
        });
      },
    );
    onward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => onward.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  proxy.url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  proxy.close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return proxy;
}

function spoil(how: Unruly, body: Uint8Array): Uint8Array {
  if (!how.startsWith("answers")) return body;
  const masks = decodeMaskBatch(body);
  if (how === "answers for other windows") {
    return encodeMaskBatch({ ...masks, records: masks.records.map((r) => ({ ...r, window: r.window + 1 })) });
  }
  if (how === "answers in another shape") {
    const [classes, height, width] = masks.shape as [number, number, number];
    return encodeMaskBatch({ ...masks, shape: [classes, width * 2, height / 2] });
  }
  if (how === "answers with nothing but zeros") for (const { data } of masks.records) data.fill(0);
  for (const { data } of masks.records) if (data instanceof Float32Array) data[7] = Number.NaN;
  return encodeMaskBatch(masks);
}
