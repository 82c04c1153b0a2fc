import { createServer, type IncomingHttpHeaders, request, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Door, openDoor } from "../../src/cli/stack/front-door.ts";

interface Seen {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  bytes: number;
}

let behind: Server;
let door: Door;
let seen: Seen[] = [];

beforeAll(async () => {
  behind = createServer((incoming, outgoing) => {
    let bytes = 0;
    incoming.on("data", (chunk: Buffer) => (bytes += chunk.length));
    incoming.on("end", () => {
      seen.push({ method: incoming.method!, url: incoming.url!, headers: incoming.headers, bytes });
      if (incoming.url === "/v1/trace") {
        return void outgoing
          .writeHead(500, { "Content-Type": "text/html" })
          .end("<pre>TypeError at /home/someone/worker.js:1</pre>");
      }
      outgoing.writeHead(200, { "X-Behind": "yes", "MF-Secret": "no", Connection: "x-hop", "X-Hop": "no" });
      outgoing.end(incoming.url === "/v1/large" ? Buffer.alloc(20_000_000, 7) : "behind");
    });
  });
  await new Promise<void>((resolve) => behind.listen(0, "127.0.0.1", resolve));
  const target = new URL(`http://127.0.0.1:${(behind.address() as AddressInfo).port}`);
  const allows = (path: string) => /^\/(?:healthz$|v1\/)/.test(path);
  door = await openDoor({ host: "127.0.0.1", port: 0, target, allows, bodyIdleMs: 1000 });
});
afterAll(async () => {
  await door.close();
  behind.close();
});

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

function ask(path: string, init: { method?: string; headers?: Record<string, string>; body?: Buffer } = {}) {
  return new Promise<Answer>((resolve, reject) => {
    const { hostname, port } = door.url;
    const { method, headers } = init;
    const asked = request({ hostname, port, path, method, headers, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("error", reject);
      answer.on("end", () =>
        resolve({ status: answer.statusCode!, headers: answer.headers, body: Buffer.concat(chunks) }),
      );
    });
    asked.on("error", reject);
    asked.end(init.body);
  });
}

/** What comes back for bytes as they are. */
function raw(bytes: string, keepOpen = false): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(door.url.port), door.url.hostname, () => {
      socket.write(bytes);
      if (!keepOpen) socket.end();
    });
    let text = "";
    socket.on("data", (chunk) => (text += chunk));
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
  });
}

const piece = fc.constantFrom(
  ...["cdn-cgi", "local", "r2", "public", "v1", "healthz", "jobs", "..", ".", "", "%2e%2e", "%2E.", "%2f"],
  ...["%5c", "\\", "%63dn-cgi", "cdn%2Dcgi", "CDN-CGI", "__cf_local", "client", "v4", ";", "?", "@", ":"],
);

describe("the door of the local service", () => {
  it("forwards allowed routes, and only with plain paths", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (pieces) => {
        seen = [];
        const path = `/${pieces.join("/")}`;
        const { status } = await ask(path);
        for (const { url } of seen) {
          expect(url).toBe(path);
          const { pathname } = new URL(url, "http://door");
          expect(pathname).toMatch(/^\/(?:healthz$|v1\/)/);
          expect(pathname).toBe(url.replace(/\?.*$/, ""));
        }
        expect(seen.length === 1 ? [200] : [400, 404]).toContain(status);
      }),
      { seed: 16, numRuns: 400 },
    );
  });

  it.each([
    "//cdn-cgi/local/r2/public/b/k",
    "/cdn-cgi/local/r2/public/b/k",
    "/v1/../cdn-cgi/local/r2/public/b/k",
    "/v1/%2e%2e/cdn-cgi/local/r2/public/b/k",
    "/v1\\..\\..\\cdn-cgi/x",
    "/%63dn-cgi/local/r2/public/b/k",
    "/__cf_local/stream/x",
    "/",
    "/v1",
    "/healthz/",
    "/v2/jobs",
  ])("%s does not pass", async (path) => {
    seen = [];
    const { status, headers, body } = await ask(path);
    expect([400, 404]).toContain(status);
    expect(headers["content-type"]).toBe("application/json");
    expect(JSON.parse(body.toString()).error.message).toBeTruthy();
    expect(seen).toEqual([]);
  });

  it("removes headers of the development server, of proxies and of the connection", async () => {
    seen = [];
    const headers = {
      "MF-Route-Override": "other",
      "mf-original-url": "http://x/cdn-cgi/local/r2/public/b/k",
      "MF-Proxy-Shared-Secret": "guess",
      "MF-CF-Blob": "{",
      "CF-Connecting-IP": "127.0.0.1",
      "X-Forwarded-Proto": "https",
      Connection: "close, x-mine",
      "X-Mine": "hop",
      "X-Other": "end to end",
      Authorization: "Bearer token",
    };
    const answer = await ask("/v1/jobs?a=b", { headers });
    const { headers: got, url } = seen[0]!;
    expect(url).toBe("/v1/jobs?a=b");
    expect(Object.keys(got).filter((name) => /^(mf-|cf-|x-forwarded)/.test(name))).toEqual([]);
    expect(got["x-mine"]).toBeUndefined();
    expect(got["x-other"]).toBe("end to end");
    expect(got.authorization).toBe("Bearer token");
    expect(answer.headers["x-behind"]).toBe("yes");
    expect(answer.headers["mf-secret"]).toBeUndefined();
    expect(answer.headers["x-hop"]).toBeUndefined();
  });

  it.each(["TRACE", "PROPFIND", "PURGE", "LOCK"])("does not answer %s", async (method) => {
    seen = [];
    const { status, headers } = await ask("/v1/jobs", { method });
    expect(status).toBe(405);
    expect(headers.allow).toContain("GET");
    expect(seen).toEqual([]);
  });

  it("rejects absolute addresses, tunnels, other protocols and smuggled requests", async () => {
    seen = [];
    expect(await raw("GET http://door/v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
    expect(await raw("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n")).toBe("");
    expect(await raw("\x16\x03\x01\x02\x00\x01\x00")).toMatch(/^HTTP\/1.1 400 /);
    const smuggled =
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /cdn-cgi/ HTTP/1.1\r\n\r\n";
    expect(await raw(smuggled)).toMatch(/^HTTP\/1.1 400 /);
    const twice =
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nContent-Length: 7\r\n\r\n1234567";
    expect(await raw(twice)).toMatch(/^HTTP\/1.1 400 /);
    expect(seen).toEqual([]);
  });

  it("forwards large bodies in both directions unchanged", async () => {
    seen = [];
    const body = Buffer.alloc(30_000_000, 3);
    const answer = await ask("/v1/large", { method: "PUT", body });
    expect(seen[0]).toMatchObject({ method: "PUT", bytes: body.length });
    expect(answer.body.length).toBe(20_000_000);
    expect(answer.body.every((byte) => byte === 7)).toBe(true);
  });

  it("shows no page for developers", async () => {
    const { status, body } = await ask("/v1/trace");
    expect(status).toBe(500);
    expect(JSON.parse(body.toString())).toMatchObject({ error: { code: "internal" } });
    expect(body.toString()).not.toContain("worker.js");
  });

  it("aborts a body that stalls", async () => {
    const head = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome";
    expect(await raw(head, true)).toMatch(/^HTTP\/1.1 408 .*of the body came in 1 s/s);
    const drops = connect(Number(door.url.port), door.url.hostname);
    let told = "";
    drops.on("error", () => {});
    drops.on("data", (chunk) => {
      told += chunk;
    });
    const closed = new Promise((resolve) => drops.once("close", resolve));
    drops.write(head);
    const dripping = setInterval(() => drops.write("x"), 100);
    await closed;
    clearInterval(dripping);
    expect(told).toMatch(/^HTTP\/1.1 408 /);
  });

  it("reports that nothing answers behind it", async () => {
    const target = new URL("http://127.0.0.1:1");
    const dead = await openDoor({ host: "127.0.0.1", port: 0, target, allows: () => true });
    try {
      const response = await fetch(new URL("/healthz", dead.url));
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({ error: { code: "unavailable" } });
    } finally {
      await dead.close();
    }
  });

  it("closes while a client is still connected", async () => {
    const other = await openDoor({ host: "127.0.0.1", port: 0, target: door.url, allows: () => true });
    const socket = connect(Number(other.url.port), "127.0.0.1");
    await new Promise((resolve) => socket.once("connect", resolve));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    await other.close();
    await closed;
  });
});
