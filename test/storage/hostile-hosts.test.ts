import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { StorageError } from "../../src/storage/errors.ts";
import { HttpStore } from "../../src/storage/http-store.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import { describeRangeMismatch, parseContentRange, readAtMost } from "../../src/storage/read-at-most.ts";
import { S3Store } from "../../src/storage/s3-store.ts";

const MIB = 2 ** 20;
let server: Server;
let origin: string;
let sent = 0;
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeAll(async () => {
  server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  sent = 0;
});

/** Sends until nobody listens, or up to 256 MiB. */
function endless(
  response: ServerResponse,
  status: number,
  headers: Record<string, string | number> = {},
): void {
  response.writeHead(status, headers);
  const chunk = Buffer.alloc(64 * 1024, 60);
  const more = () => {
    while (!response.destroyed && sent < 256 * MIB) {
      sent += chunk.length;
      if (!response.write(chunk)) return void response.once("drain", more);
    }
    response.destroy();
  };
  more();
}

const stores: [string, () => ObjectStore][] = [
  ["a web server", () => new HttpStore(`${origin}/bucket`, { maxWholeBytes: 4 * MIB })],
  [
    "an S3 server",
    () =>
      new S3Store("bucket", {
        endpoint: origin,
        region: "us-east-1",
        credentials: { accessKeyId: "a", secretAccessKey: "b" },
      }),
  ],
];

async function refusal(call: Promise<unknown>): Promise<StorageError> {
  const error = await call.then(
    (value) => new Error(`it was answered: ${JSON.stringify(value)?.slice(0, 100)}`),
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(StorageError);
  expect((error as Error).message).not.toContain("\n");
  return error as StorageError;
}

describe.each(stores)("%s", (_, open) => {
  it("that sends an endless range is read to the requested length and reported", async () => {
    answer = (_, response) => endless(response, 206, { ETag: '"one"', "Content-Range": "bytes 0-63/100000" });
    const { message, retryable } = await refusal(open().getRange("a", 0, 64));
    expect(message).toMatch(/sends more than the 64 bytes that it was asked for/);
    expect(retryable).toBe(false);
    expect(sent).toBeLessThan(64 * MIB);
  });

  it("that states a larger range is rejected before its body is read", async () => {
    answer = (_, response) =>
      endless(response, 206, { ETag: '"one"', "Content-Range": "bytes 0-9999999/10000000" });
    const { message } = await refusal(open().getRange("a", 0, 64));
    expect(message).toMatch(/bytes 0 to 9999999 where 0 to 63 were asked for/);
    expect(sent).toBeLessThan(64 * MIB);
  });

  it("that answers with another range is rejected", async () => {
    answer = (_, response) => {
      response.writeHead(206, { ETag: '"one"', "Content-Range": "bytes 0-9/100", "Content-Length": 10 });
      response.end("0123456789");
    };
    expect((await refusal(open().getRange("a", 50, 10))).message).toMatch(/where 50 to 59 were asked for/);
    answer = (_, response) => response.writeHead(206, { ETag: '"one"' }).end("0123456789");
    await refusal(open().getRange("a", 50, 10));
  });

  it("that sends less than it states is retryable", async () => {
    answer = (_, response) => {
      response.writeHead(206, { ETag: '"one"', "Content-Range": "bytes 0-9/100" });
      response.end("01234");
    };
    expect((await refusal(open().getRange("a", 0, 10))).retryable).toBe(true);
  });

  it("that ignores the range is not read to the end", async () => {
    answer = (_, response) => endless(response, 200, { ETag: '"one"' });
    await refusal(open().getRange("a", 10, 64));
    expect(sent).toBeLessThan(64 * MIB);
  });

  it("that sends an endless error is not read to the end", async () => {
    answer = (_, response) => endless(response, 403);
    await refusal(open().getRange("a", 10, 64));
    expect(sent).toBeLessThan(64 * MIB);
  });
});

it("an endless listing of an S3 server is not read to the end", async () => {
  answer = (_, response) => endless(response, 200, { "Content-Type": "application/xml" });
  const listing = async () => {
    for await (const _ of stores[1]![1]().list("a/")) break;
  };
  expect((await refusal(listing())).message).toMatch(/more than \d+ bytes where it lists or refuses/);
  expect(sent).toBeLessThan(128 * MIB);
});

it("whole objects of a server without ranges are cached up to one limit", async () => {
  const body = Buffer.alloc(3 * MIB, 1);
  let requests = 0;
  answer = (_, response) => {
    requests++;
    response.writeHead(200, { "Content-Length": body.length, ETag: '"one"' }).end(body);
  };
  const store = stores[0]![1]();
  for (const key of ["a", "b", "a"]) expect((await store.getRange(key, 5, 5))!.length).toBe(5);
  expect(requests).toBe(3);
  await store.getRange("a", 7, 5);
  expect(requests).toBe(3);
});

describe("a bounded read", () => {
  it("returns the beginning of a body, and whether there was more", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 20 })), fc.nat(100), async (chunks, most) => {
        let taken = 0;
        const body = async function* () {
          for (const chunk of chunks) {
            taken += chunk.length;
            yield chunk;
          }
        };
        const all = Buffer.concat(chunks);
        const { bytes, more } = await readAtMost(body(), most);
        expect(Buffer.from(bytes)).toEqual(all.subarray(0, most));
        expect(more).toBe(all.length > most);
        expect(taken).toBeLessThanOrEqual(most + 20);
      }),
      { seed: 16 },
    );
  });

  it("accepts a range exactly if it has the requested bytes, up to the end", () => {
    const nat = fc.nat(50);
    fc.assert(
      fc.property(nat, nat, fc.integer({ min: 1, max: 50 }), nat, nat, (offset, after, total, a, b) => {
        fc.pre(offset < total && a <= b && b < total);
        const length = Math.max(1, after);
        const range = parseContentRange(`bytes ${a}-${b}/${total}`);
        const isRight = a === offset && b + 1 === Math.min(total, offset + length);
        expect(describeRangeMismatch(range, offset, length) === undefined).toBe(isRight);
      }),
      { seed: 16, numRuns: 1000 },
    );
  });
});
