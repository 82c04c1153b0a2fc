import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { httpRequest } from "../../src/inference/remote/http-request.ts";

/** A server that answers with what it was sent, its length stated or not. */
let server: Server;
let base: URL;
beforeAll(async () => {
  server = createServer(async (request, response) => {
    const parts: Uint8Array[] = [];
    for await (const part of request) parts.push(part);
    if (request.url === "/silent") return;
    if (request.url === "/switches") {
      return void response.writeHead(101, { Connection: "Upgrade", Upgrade: "other" }).end();
    }
    if (request.url === "/stops") return void response.writeHead(200, { "Content-Length": 9 }).write("x");
    const bytes = Buffer.concat(parts);
    if (request.url === "/stated") response.setHeader("Content-Length", bytes.length);
    // In two writes, so that it is chunked where no length was stated.
    response.write(bytes.subarray(0, bytes.length >> 1));
    response.end(bytes.subarray(bytes.length >> 1));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const maxBytes = 1 << 20;

it("transfers bodies of any size completely, several at a time", async () => {
  const size = fc.oneof(fc.nat(200), fc.integer({ min: 60_000, max: 70_000 }), fc.nat(600_000));
  const bodies = fc.array(fc.record({ size, seed: fc.nat(255), stated: fc.boolean() }), {
    minLength: 1,
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(bodies, async (sent) => {
      await Promise.all(
        sent.map(async ({ size, seed, stated }) => {
          const body = Uint8Array.from({ length: size }, (_, i) => seed + i * 31 + (i >> 8));
          const expected = body.slice();
          const url = new URL(stated ? "/stated" : "/", base);
          const { status, bytes } = await httpRequest(url, {
            method: "POST",
            headers: {},
            body,
            freeBody: true,
            maxBytes,
          });
          expect(status).toBe(200);
          expect(Buffer.compare(bytes, expected)).toBe(0);
        }),
      );
    }),
    { numRuns: 60 },
  );
});

it("detaches a body after sending it with freeBody", async () => {
  for (const freeBody of [false, true]) {
    const body = new Uint8Array(300_000).fill(1);
    await httpRequest(new URL("/stated", base), { method: "POST", headers: {}, body, freeBody, maxBytes });
    expect(body.length).toBe(freeBody ? 0 : 300_000);
  }
});

it("accepts a response of the maximum size and rejects one byte more", async () => {
  for (const path of ["/stated", "/"]) {
    const ask = (bytes: number) =>
      httpRequest(new URL(path, base), {
        method: "POST",
        headers: {},
        body: new Uint8Array(bytes),
        maxBytes: 500,
      });
    expect((await ask(500)).bytes.length).toBe(500);
    await expect(ask(501)).rejects.toMatchObject({ name: "ResponseTooLargeError" });
  }
});

it.each([
  ["/silent", "Error"],
  ["/stops", "IncompleteResponseError"],
])("times out on a silent server (%s)", async (path, name) => {
  const options = { method: "GET", headers: {}, maxBytes, silenceMs: 500 } as const;
  await expect(httpRequest(new URL(path, base), options)).rejects.toMatchObject({ name });
});

it("rejects a server that switches protocols", async () => {
  const options = { method: "GET", headers: {}, maxBytes } as const;
  await expect(httpRequest(new URL("/switches", base), options)).rejects.toThrow("no response");
});

it("sends nothing after an abort", async () => {
  const reason = new Error("enough");
  const options = { method: "GET", headers: {}, maxBytes, signal: AbortSignal.abort(reason) } as const;
  await expect(httpRequest(base, options)).rejects.toBe(reason);
});
