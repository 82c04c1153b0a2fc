import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { requestWithRetry } from "../../gpu-runner/pull/request-with-retry.ts";
import { parseJsonResponse } from "../../src/inference/remote/http-request.ts";

/** A service that answers as `behave` says, the first time and every time. */
let server: Server;
let url: URL;
let behave: (response: ServerResponse, time: number) => void;
let received: Uint8Array[] = [];
let asked: IncomingMessage[] = [];
beforeAll(async () => {
  server = createServer(async (request, response) => {
    const parts: Uint8Array[] = [];
    for await (const part of request) parts.push(part);
    received.push(Buffer.concat(parts));
    asked.push(request);
    behave(response, received.length);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/x`);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  received = [];
  asked = [];
});

const token = "token-of-the-tests";
const fine = (response: ServerResponse) => void response.end('{"run":true}');

it.each<[string, (response: ServerResponse) => void]>([
  ["is not there yet", (response) => void response.writeHead(503).end()],
  [
    "breaks off",
    (response) => void response.writeHead(200, { "Content-Length": 99 }).write("{", () => response.destroy()),
  ],
  ["is cut before it begins", (response) => void response.destroy()],
])("an answer that %s is asked for again, and what was sent is sent whole again", async (_, fault) => {
  behave = (response, time) => (time < 3 ? fault(response) : fine(response));
  const body = Uint8Array.from({ length: 200_000 }, (_, i) => i * 31);
  const answer = await requestWithRetry({
    url,
    method: "PUT",
    token,
    body,
    contentType: "application/x-bytes",
  });
  expect(parseJsonResponse(answer)).toEqual({ run: true });
  expect(received.map((bytes) => Buffer.compare(bytes, body))).toEqual([0, 0, 0]);
  expect(asked[2]!.headers).toMatchObject({
    authorization: `Bearer ${token}`,
    "content-type": "application/x-bytes",
  });
});

it("throws a permanent error with the service's message, without a retry", async () => {
  behave = (response) =>
    void response.writeHead(404).end('{"error":{"code":"job_ended","message":"it is over"}}');
  await expect(
    requestWithRetry({ url, method: "POST", token, body: { event: "take" } }),
  ).rejects.toMatchObject({
    code: "job_ended",
    status: 404,
    message: expect.stringContaining("it is over"),
  });
  expect(received.map(String)).toEqual(['{"event":"take"}']);
});

it("aborts an endless response and does not retry", async () => {
  behave = (response) => {
    const pour = () => {
      while (!response.destroyed && response.write(" ".repeat(1 << 16)));
    };
    response.on("drain", pour).on("error", () => {});
    pour();
  };
  await expect(requestWithRetry({ url, method: "GET", token })).rejects.toMatchObject({
    code: "bad_answer",
    retryable: false,
  });
  expect(received.length).toBe(1);
});

it("does not follow redirects, which could leak the token", async () => {
  behave = (response) => void response.writeHead(302, { Location: "/elsewhere" }).end();
  await expect(requestWithRetry({ url, method: "GET", token })).rejects.toMatchObject({ status: 302 });
  expect(asked.map((request) => request.url)).toEqual(["/x"]);
});

it("throws the reason of an abort during backoff at once", async () => {
  const reason = new Error("stopped");
  const controller = new AbortController();
  behave = (response) => {
    response.writeHead(503, { "Retry-After": "50" }).end();
    setTimeout(() => controller.abort(reason), 20);
  };
  await expect(requestWithRetry({ url, method: "GET", token, signal: controller.signal })).rejects.toBe(
    reason,
  );
});
