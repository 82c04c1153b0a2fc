import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ServiceError } from "../../src/client/errors.ts";
import { type ServerEvent, serverEvents } from "../../src/client/events.ts";
import { JobClient } from "../../src/client/job-client.ts";
import { watchJob } from "../../src/client/watch.ts";
import { parseRetryAfter, retry } from "../../src/storage/retry.ts";

async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

describe("server-sent events", () => {
  const word = fc.string({ unit: fc.constantFrom("a", "é", "😀", " ", ":") });
  const event = fc.record({ event: fc.constantFrom("status", "message"), data: word });

  it("are the same for any chunking and any line ends", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(event),
        fc.constantFrom("\n", "\r\n", "\r"),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        async (events, end, sizes) => {
          const lines = events.flatMap(({ event, data }) => [
            ": ping",
            `event: ${event}`,
            `data: ${data}`,
            "",
          ]);
          // A "\r" at the very end may be half of a line's end: something must follow it.
          const bytes = new TextEncoder().encode([...lines, ": end", ""].join(end));
          const read: ServerEvent[] = [];
          for await (const one of serverEvents(cut(bytes, sizes))) read.push(one);
          expect(read).toEqual(events);
        },
      ),
    );
  });

  it("may have several lines; an endless event is rejected", async () => {
    const text = new TextEncoder();
    const read: ServerEvent[] = [];
    for await (const one of serverEvents(
      cut(text.encode("data: a\ndata:b\nid: 1\n\ndata: cut off"), [100]),
    )) {
      read.push(one);
    }
    expect(read).toEqual([{ event: "message", data: "a\nb" }]);
    const endless = serverEvents(cut(text.encode(`data: ${"x".repeat(2 << 20)}`), [1 << 16]));
    await expect(endless.next()).rejects.toThrow(/more than 1048576 characters/);
  });
});

describe("retries", () => {
  const failure = (retryable: boolean, retryAfter?: number) =>
    new ServiceError("no", { code: "x", retryable, retryAfterMs: retryAfter });
  const failing = (times: number, error: Error) => {
    let calls = 0;
    return async () => {
      if (++calls <= times) throw error;
      return calls;
    };
  };
  const quick = { attempts: 3, firstDelayMs: 1 };

  it("end with success, with the last error, or at once for an error that is not retryable", async () => {
    expect(await retry(failing(2, failure(true)), quick)).toBe(3);
    await expect(retry(failing(3, failure(true)), quick)).rejects.toThrow("no");
    const refused = failing(1, failure(false));
    await expect(retry(refused, quick)).rejects.toThrow("no");
    expect(await refused()).toBe(2);
    await expect(retry(failing(1, new TypeError("bug")), quick)).rejects.toThrow("bug");
    await expect(retry(failing(1, failure(true, 3_600_000)), quick)).rejects.toThrow("no");
  });

  it("wait for Retry-After, and stop when the user aborts", async () => {
    const waits: number[] = [];
    const started = performance.now();
    await retry(failing(1, failure(true, 80)), { ...quick, onRetry: (_, ms) => waits.push(ms) });
    expect(waits).toEqual([80]);
    expect(performance.now() - started).toBeGreaterThanOrEqual(75);
    const reason = new Error("enough");
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = retry(failing(1, failure(true, 60_000)), {
      ...quick,
      signal,
      onRetry: () => setTimeout(() => controller.abort(reason)),
    });
    await expect(waiting).rejects.toBe(reason);
  });

  it("read Retry-After in seconds and as a date", () => {
    expect(parseRetryAfter("3", 0)).toBe(3000);
    expect(parseRetryAfter("Thu, 01 Jan 1970 00:00:10 GMT", 4000)).toBe(6000);
    expect(parseRetryAfter("Thu, 01 Jan 1970 00:00:10 GMT", 60_000)).toBe(0);
    expect(parseRetryAfter("soon", 0)).toBeUndefined();
    expect(parseRetryAfter(null, 0)).toBeUndefined();
  });
});

describe("watching a job", () => {
  it("reports a stall, with the service's reason", async () => {
    let health = 0;
    const status = {
      id: "0123456789abcdef0123456789abcdef",
      source: { uri: "r2://scans/a.tiff", etag: "e", byteLength: 1 },
      model: { name: "pointwise" },
      createdAt: "2026-11-29T12:00:00.000Z",
      updatedAt: "2026-11-29T12:00:00.000Z",
    };
    const server = createServer((request, response) => {
      response.setHeader("Content-Type", "application/json");
      if (request.url === "/healthz") {
        health++;
        const well = { ok: true };
        const ill = { ok: false, reason: "the queue of events has delivered nothing for 99 s" };
        return void response
          .writeHead(health === 1 ? 200 : 503)
          .end(JSON.stringify(health === 1 ? well : ill));
      }
      if (request.url!.endsWith("/events")) return void response.writeHead(404).end("{}");
      response.end(JSON.stringify({ ...status, state: quiet.length < 3 ? "mapping" : "done" }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const quiet: (string | undefined)[] = [];
    const client = new JobClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const end = await watchJob(client, status.id, {
      firstDelayMs: 10,
      stallMs: 30,
      onStall: (seconds, reason) => {
        expect(seconds).toBeGreaterThanOrEqual(0);
        quiet.push(reason);
      },
    });
    expect(end.state).toBe("done");
    expect(quiet[0]).toBeUndefined();
    expect(quiet[1]).toBe("the queue of events has delivered nothing for 99 s");
    server.closeAllConnections();
    server.close();
  });

  it("reads no more of a response than the limit", async () => {
    let sent = 0;
    const server = createServer((_, response) => {
      response.writeHead(200, { "Content-Type": "application/json" });
      const chunk = Buffer.alloc(2 ** 20, 32);
      const more = () => {
        while (!response.destroyed && sent < 500) {
          sent++;
          if (!response.write(chunk)) return void response.once("drain", more);
        }
      };
      more();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const client = new JobClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await expect(client.status("a")).rejects.toThrow(/longer than \d+ bytes/);
    expect(sent).toBeLessThan(200);
    server.closeAllConnections();
    server.close();
  });
});
