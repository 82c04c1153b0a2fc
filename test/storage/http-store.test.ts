import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openImage } from "../../src/readers/open-image.ts";
import { ObjectChangedError, StorageError } from "../../src/storage/errors.ts";
import { HttpStore } from "../../src/storage/http-store.ts";
import { makeTiff } from "../builders/make-tiff.ts";
import { crop, pattern } from "../builders/pattern.ts";

const content = new TextEncoder().encode("0123456789");
let server: Server;
let base: string;
let requests: IncomingMessage[];
/** What the server does next; each test sets its own. */
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeAll(async () => {
  server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/data`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  requests = [];
});

/** A server that serves ranges of `body`. */
const ranged =
  (body: Uint8Array, headers: Record<string, string> = { ETag: '"one"' }) =>
  (request: IncomingMessage, response: ServerResponse) => {
    const range = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? "");
    if (!range) return response.writeHead(200, headers).end(body);
    const start = range[1] === "" ? Math.max(0, body.length - Number(range[2])) : Number(range[1]);
    if (start >= body.length)
      return response.writeHead(416, { "Content-Range": `bytes */${body.length}` }).end();
    const end = range[1] === "" ? body.length : Math.min(Number(range[2]) + 1, body.length);
    response.writeHead(206, { ...headers, "Content-Range": `bytes ${start}-${end - 1}/${body.length}` });
    response.end(body.subarray(start, end));
  };

const text = (b: Uint8Array | undefined) => b && new TextDecoder().decode(b);

describe("a server with ranges", () => {
  test("gives size, etag and parts, with GET alone", async () => {
    answer = ranged(content);
    const store = new HttpStore(base);
    expect(await store.head("a")).toEqual({ byteLength: 10, etag: '"one"' });
    expect(text(await store.getRange("a", 2, 3, { ifMatch: '"one"' }))).toBe("234");
    expect(text(await store.getRange("a", -4, 2))).toBe("67");
    expect(text(await store.getRange("a", 50, 2))).toBe("");
    expect(text((await store.get("a"))?.bytes)).toBe("0123456789");
    expect(new Set(requests.map((r) => r.method))).toEqual(new Set(["GET"]));
  });

  test("sends the signature of a presigned address with every request, and encodes keys", async () => {
    answer = ranged(content);
    const store = new HttpStore(base, { search: "X-Amz-Signature=a%2Bb" });
    await store.getRange("ä b/c#d.svs", 0, 1);
    expect(requests[0]!.url).toBe("/data/%C3%A4%20b/c%23d.svs?X-Amz-Signature=a%2Bb");
  });

  test.each([
    ["a strong etag", { ETag: '"one"' }, { ETag: '"two"' }],
    ["a weak etag", { ETag: 'W/"one"' }, { ETag: 'W/"two"' }],
    [
      "a date alone",
      { "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT" },
      { "Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT" },
    ],
  ])("an object that changed is noticed by %s", async (_, before, after) => {
    answer = ranged(content, before as unknown as Record<string, string>);
    const store = new HttpStore(base);
    const { etag } = (await store.head("a"))!;
    expect(text(await store.getRange("a", 0, 2, { ifMatch: etag }))).toBe("01");
    answer = ranged(content, after as unknown as Record<string, string>);
    await expect(store.getRange("a", 0, 2, { ifMatch: etag })).rejects.toThrow(ObjectChangedError);
  });

  test("412 is a changed object, 404 and 410 are absence, an empty file has no bytes", async () => {
    const store = new HttpStore(base);
    answer = (_, response) => response.writeHead(412).end();
    await expect(store.getRange("a", 0, 2, { ifMatch: '"one"' })).rejects.toThrow(ObjectChangedError);
    answer = (_, response) => response.writeHead(404).end();
    expect(await store.head("a")).toBeUndefined();
    answer = (_, response) => response.writeHead(410).end();
    expect(await store.get("a")).toBeUndefined();
    answer = ranged(new Uint8Array(0));
    expect((await store.head("a"))?.byteLength).toBe(0);
  });

  test("redirects are followed", async () => {
    answer = (request, response) => {
      if (request.url === "/data/a") response.writeHead(302, { Location: "/moved" }).end();
      else ranged(content)(request, response);
    };
    expect(text(await new HttpStore(base).getRange("a", 1, 2))).toBe("12");
  });

  test("the first bytes come with size and etag if wanted, and are read once from memory", async () => {
    answer = ranged(content);
    const store = new HttpStore(base, { headBytes: 6 });
    expect(await store.head("a")).toEqual({ byteLength: 10, etag: '"one"' });
    // Neither what lies beyond them, nor another version.
    expect(text(await store.getRange("a", 4, 4, { ifMatch: '"one"' }))).toBe("4567");
    await expect(store.getRange("a", 0, 2, { ifMatch: '"two"' })).rejects.toThrow(ObjectChangedError);
    expect(requests).toHaveLength(3);
    expect(text(await store.getRange("a", 1, 5, { ifMatch: '"one"' }))).toBe("12345");
    expect(requests).toHaveLength(3);
    expect(text(await store.getRange("a", 1, 5, { ifMatch: '"one"' }))).toBe("12345");
    expect(requests).toHaveLength(4);
    expect((await new HttpStore(base, { headBytes: 64 }).head("a"))?.byteLength).toBe(10);
  });

  test("a TIFF is opened and read in few small requests", async () => {
    const image = pattern("uint8", [600, 800, 3]);
    const file = makeTiff([{ image, tile: [64, 64] }]);
    answer = ranged(file);
    const source = await openImage(new HttpStore(base), "made.tif");
    const rect = { origin: [100, 100], size: [100, 200] };
    expect((await source.readRegion(0, rect)).data).toEqual(crop(image, rect).data);
    expect(source.bytesRead).toBeLessThan(file.length / 4);
    expect(requests.length).toBeLessThan(8);
  });
});

test("reads an object whole only within the limit, whatever the server states", async () => {
  for (const headers of [{ "Content-Length": content.length }, {}]) {
    answer = (_: IncomingMessage, response: ServerResponse) => response.writeHead(200, headers).end(content);
    await expect(new HttpStore(base, { maxWholeBytes: 9 }).get("a")).rejects.toThrow(/more than 9 bytes/);
    expect((await new HttpStore(base, { maxWholeBytes: 10 }).get("a"))!.byteLength).toBe(10);
  }
});

describe("a server without ranges", () => {
  const whole = (_: IncomingMessage, response: ServerResponse) =>
    response.writeHead(200, { "Content-Length": content.length, ETag: '"one"' }).end(content);

  test("a small file is read whole, once", async () => {
    answer = whole;
    const store = new HttpStore(base);
    const info = await store.head("a");
    expect(info).toEqual({ byteLength: 10, etag: '"one"' });
    expect(text(await store.getRange("a", 2, 3, { ifMatch: info!.etag }))).toBe("234");
    expect(text(await store.getRange("a", -2, 2))).toBe("89");
    expect(requests).toHaveLength(1);
  });

  test.each([
    ["that tells its size", whole],
    [
      "that does not",
      (_: IncomingMessage, response: ServerResponse) => void response.writeHead(200).end(content),
    ],
  ])("a large file %s is refused with what to do", async (_, behaviour) => {
    answer = behaviour;
    await expect(new HttpStore(base, { maxWholeBytes: 5 }).head("slide.svs")).rejects.toThrow(
      /does not serve byte ranges.*download slide.svs first and give the local file/,
    );
  });
});

describe("failures are one sentence with advice", () => {
  const failure = async (call: Promise<unknown>): Promise<StorageError> => {
    const error = await call.catch((e: StorageError) => e);
    if (!(error instanceof StorageError)) throw new Error("no StorageError was thrown");
    expect(error.message).not.toContain("\n");
    return error;
  };

  test("an unreachable host is retryable", async () => {
    // A port that was free a moment ago.
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    const error = await failure(new HttpStore(`http://127.0.0.1:${port}/x`).head("a"));
    expect(error.message).toBe(
      `cannot reach 127.0.0.1:${port} (ECONNREFUSED); check the address and the network`,
    );
    expect(error.retryable).toBe(true);
  });

  test.each([
    [403, false, /answers 403 for a; check that the address is public/],
    [500, true, /answers 500 for a; try again later/],
    [429, true, /answers 429/],
    [400, false, /answers 400/],
  ])("status %i", async (status, retryable, message) => {
    answer = (_, response) => response.writeHead(status as number).end("<html>detail</html>");
    const error = await failure(new HttpStore(base).head("a"));
    expect(error.message).toMatch(message as RegExp);
    expect(error.retryable).toBe(retryable);
  });

  test("a connection that breaks in the middle is retryable", async () => {
    answer = (_, response) => {
      response.writeHead(206, { ETag: '"one"', "Content-Range": "bytes 0-9/10", "Content-Length": 10 });
      response.write("0123");
      setTimeout(() => response.destroy(), 20);
    };
    const error = await failure(new HttpStore(base).getRange("a", 0, 10));
    expect(error.retryable).toBe(true);
  });

  test("rejects writing and listing", async () => {
    const store = new HttpStore(base);
    expect((await failure(store.put("a", content))).message).toMatch(/web addresses are read only/);
    const listing = async () => {
      for await (const _ of store.list("a/")) break;
    };
    expect((await failure(listing())).message).toMatch(/web servers have no listing/);
  });
});
