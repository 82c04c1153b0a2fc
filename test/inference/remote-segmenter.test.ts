import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { RemoteSegmenter } from "../../src/inference/remote/remote-segmenter.ts";
import { encodeMaskBatch, MASK_BATCH_TYPE, type MaskBatch } from "../../src/tiling/wire/mask-batch.ts";

/** A server that says it is an edge function and then answers as `respond` likes. */
let server: Server;
let url: string;
let respond: (response: ServerResponse) => void;
let requests = 0;
const HASH = "a".repeat(64);
beforeAll(async () => {
  server = createServer((request, response) => {
    request.resume();
    if (request.url === "/v1/info") {
      const info = {
        model: { name: "m", variant: "v", hash: HASH },
        window: [2, 2],
        channels: 1,
        classes: 2,
        limits: { maxWindows: 2, maxBodyBytes: 1 << 20 },
        runtime: { name: "none" },
      };
      response.setHeader("Content-Type", "application/json").end(JSON.stringify(info));
      return;
    }
    requests++;
    request.on("end", () => respond(response));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const batch = (windows: number) => ({ data: new Uint8Array(windows * 4), shape: [windows, 2, 2, 1] });
const scaling = { low: 0, high: 255 };

function masks(change: Partial<MaskBatch> = {}, windows = [0]): Uint8Array {
  const precision = change.precision ?? "u8";
  const length = (change.shape ?? [2, 2, 2]).reduce((p, n) => p * n, 1);
  const records = windows.map((window) => ({ window, precision, data: new Uint8Array(length).fill(51) }));
  return encodeMaskBatch({ model: HASH, variant: "v", precision, shape: [2, 2, 2], records, ...change });
}
const answer =
  (body: Uint8Array, type = MASK_BATCH_TYPE) =>
  (response: ServerResponse) =>
    void response.setHeader("Content-Type", type).end(body);

it("accepts a correct response, and splits batches by the limits of the service", async () => {
  const edge = await RemoteSegmenter.connect(url, { token: "t", modelHash: HASH });
  requests = 0;
  respond = (response) => answer(masks({}, requests < 3 ? [0, 1] : [0]))(response);
  const out = await edge.segment(batch(5), { scaling, precision: "u8" });
  expect(requests).toBe(3);
  expect(out.shape).toEqual([5, 2, 2, 2]);
  expect([...out.data]).toEqual(new Array(40).fill(Math.fround(0.2)));
});

it.each(["u8", "f16", "f32"] as const)("hands records in %s over as they came", async (precision) => {
  const edge = await RemoteSegmenter.connect(url, { token: "t" });
  const sent = [3, 44, 500].map((value) => {
    const bytes = new Uint8Array(8).fill(value);
    const data =
      precision === "u8"
        ? bytes
        : precision === "f16"
          ? Uint16Array.from(bytes)
          : new Float32Array(8).fill(value / 511);
    return data;
  });
  let given = 0;
  respond = (response) => {
    const part = sent.slice(given, given + 2);
    given += 2;
    const records = part.map((data, window) => ({ window, precision, data }));
    answer(encodeMaskBatch({ model: HASH, variant: "v", precision, shape: [2, 2, 2], records }))(response);
  };
  const encoded = await edge.segmentEncoded(batch(3), { scaling, precision });
  expect(encoded.shape).toEqual([2, 2, 2]);
  expect(encoded.data.map((data) => data.slice())).toEqual(sent);
});

it.each<[string, boolean, (response: ServerResponse) => void, string]>([
  [
    "more bytes than were asked for, stated",
    false,
    (response) =>
      void response
        .on("error", () => {})
        .writeHead(200, { "Content-Length": 1e12, "Content-Type": MASK_BATCH_TYPE })
        .write("x"),
    "too large",
  ],
  [
    "bytes without end",
    false,
    (response) => {
      const pour = () => {
        while (!response.destroyed && response.write(new Uint8Array(1 << 16)));
      };
      response.on("drain", pour).on("error", () => {});
      response.writeHead(200, { "Content-Type": MASK_BATCH_TYPE });
      pour();
    },
    "too large",
  ],
  ["another type", true, answer(masks(), "text/html"), "its type is text/html"],
  ["garbage", true, answer(new Uint8Array(50)), 'does not begin with "TWMB"'],
  ["an answer that is cut off", true, answer(masks().slice(0, -3)), "the message has"],
  ["another window", false, answer(masks({}, [1])), "other windows"],
  ["windows too many", false, answer(masks({}, [0, 1])), "other windows"],
  ["another model", false, answer(masks({ model: "b".repeat(64) })), "another model"],
  ["another shape", false, answer(masks({ shape: [2, 2, 3] })), "records are 2×2×3"],
  [
    "a connection that breaks",
    true,
    (response) =>
      void response
        .writeHead(200, { "Content-Length": 99, "Content-Type": MASK_BATCH_TYPE })
        .write("x", () => response.destroy()),
    "incomplete",
  ],
])(
  "an answer with %s is no segmentation; that it may be right the next time is %s",
  async (_, retryable, behave, sentence) => {
    respond = behave;
    const edge = await RemoteSegmenter.connect(url, { token: "t" });
    const failed = edge.segment(batch(1), { scaling, precision: "u8" });
    await expect(failed).rejects.toMatchObject({ name: "RemoteError", code: "bad_answer", retryable });
    await expect(failed).rejects.toThrow(sentence);
  },
);

it("passes Retry-After on and counts the traffic", async () => {
  const edge = await RemoteSegmenter.connect(url, { token: "t" });
  expect(edge.limits).toEqual({ windows: 2, requests: undefined });
  respond = (response) => void response.writeHead(503, { "Retry-After": "7" }).end();
  await expect(edge.segment(batch(1), { scaling })).rejects.toMatchObject({ retryAfterMs: 7000 });
  respond = answer(masks());
  await edge.segment(batch(1), { scaling, precision: "u8" });
  expect(edge.traffic.bytesReceived).toBe(masks().length);
  expect(edge.traffic.bytesSent).toBeGreaterThan(4);
});

it("does not follow redirects, and reports errors without a body by status", async () => {
  const edge = await RemoteSegmenter.connect(url, { token: "t" });
  respond = (response) => void response.writeHead(302, { Location: "/v1/info" }).end();
  await expect(edge.segment(batch(1), { scaling, precision: "u8" })).rejects.toMatchObject({
    status: 302,
    retryable: false,
    message: expect.stringContaining("give the address that it redirects to"),
  });
  respond = (response) => void response.writeHead(502).end("<html>");
  await expect(edge.segment(batch(1), { scaling, precision: "u8" })).rejects.toMatchObject({
    status: 502,
    retryable: true,
  });
});

it("aborts a request that gets no response", async () => {
  const edge = await RemoteSegmenter.connect(url, { token: "t" });
  const reason = new Error("enough");
  const controller = new AbortController();
  respond = () => controller.abort(reason);
  await expect(edge.segment(batch(1), { scaling, precision: "u8", signal: controller.signal })).rejects.toBe(
    reason,
  );
});

it("limits the size of /v1/info", async () => {
  const pouring = createServer((request, response) => {
    request.resume();
    const pour = () => {
      while (!response.destroyed && response.write(" ".repeat(1 << 16)));
    };
    response.on("drain", pour).on("error", () => {});
    pour();
  });
  await new Promise<void>((resolve) => pouring.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = pouring.address() as AddressInfo;
    const connecting = RemoteSegmenter.connect(`http://127.0.0.1:${port}`, {});
    await expect(connecting).rejects.toMatchObject({ code: "bad_answer", retryable: false });
  } finally {
    pouring.closeAllConnections();
    pouring.close();
  }
});

/** The body is larger than what lies in the system's buffers, so that most of it is still to be sent. */
it("reports a rejection before the body is sent, and later requests are complete", async () => {
  const received: number[] = [];
  const refusing = createServer((request, response) => {
    if (request.url === "/v1/info") {
      response.end(
        JSON.stringify({
          model: { name: "m", variant: "v", hash: HASH },
          window: [2048, 2048],
          channels: 1,
          classes: 2,
          limits: { maxWindows: 4, maxBodyBytes: 1 << 26 },
          runtime: { name: "none" },
        }),
      );
    } else if (received.length === 0) {
      received.push(0);
      response.writeHead(401, { "Content-Type": "application/json" });
      response.end(JSON.stringify({ error: { code: "unauthorized", message: "no" } }));
      request.resume();
    } else {
      request.on("data", (bytes: Uint8Array) => received.push(bytes.reduce((sum, byte) => sum + byte, 0)));
      request.on("end", () => response.writeHead(503).end());
    }
  });
  await new Promise<void>((resolve) => refusing.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = refusing.address() as AddressInfo;
    const edge = await RemoteSegmenter.connect(`http://127.0.0.1:${port}`, {});
    const pixels = { data: new Uint8Array(4 << 22).fill(1), shape: [4, 2048, 2048, 1] };
    await expect(edge.segment(pixels, { scaling })).rejects.toMatchObject({
      status: 401,
      code: "unauthorized",
    });
    await expect(edge.segment(pixels, { scaling })).rejects.toMatchObject({ status: 503 });
    expect(received.reduce((sum, n) => sum + n)).toBeGreaterThanOrEqual(4 << 22);
  } finally {
    refusing.closeAllConnections();
    refusing.close();
  }
});
