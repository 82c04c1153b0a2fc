import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Stack, startStack } from "../../src/cli/stack/local-stack.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { SnsSender, TOPIC } from "../edge/jobs/sns-sender.ts";
import { eventBridgeBody, minioBody, s3Body } from "../edge/jobs/storage-messages.ts";
import { JOBS_BINDINGS, READ_TOKEN, SEGMENT_BINDINGS, Service, TOKEN, until } from "./service.ts";

const WEBHOOK_TOKEN = "token-of-a-function-that-forwards-events";
const JOB = "0123456789abcdef0123456789abcdef";

let directory: string;
let stack: Stack;
let service: Service;
const logged: string[] = [];

/** An allowed host, and its next response. */
let host: Server;
let hostAt: string;
let asked = 0;
let behave: (path: string, response: ServerResponse) => void = (_, response) => response.writeHead(404).end();

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-attacks-"));
  host = createServer((incoming, outgoing) => {
    asked++;
    behave(incoming.url!, outgoing);
  });
  await new Promise<void>((resolve) => host.listen(0, "127.0.0.1", resolve));
  hostAt = `127.0.0.1:${(host.address() as AddressInfo).port}`;
  stack = await startStack({
    state: join(directory, "state"),
    host: "0.0.0.0",
    port: 0,
    model: writePointwisePackage(join(directory, "pointwise")),
    hungMs: 8000,
    jobs: {
      ...JOBS_BINDINGS,
      HEALTH_SECONDS: "5",
      SOURCES: JSON.stringify([
        { kind: "http", host: hostAt },
        { kind: "s3", bucket: "slides", endpoint: `http://${hostAt}` },
      ]),
      RULES: JSON.stringify([{ name: "all", bucket: "slides" }]),
      WEBHOOKS: JSON.stringify({
        s3: { token: WEBHOOK_TOKEN },
        minio: { token: WEBHOOK_TOKEN },
        eventbridge: { apiKey: WEBHOOK_TOKEN },
        sns: { topics: [TOPIC] },
      }),
    },
    segment: SEGMENT_BINDINGS,
    log: (line) => logged.push(line),
  });
  service = new Service(stack.url);
  const scans = await stack.miniflare.getR2Bucket("SCANS", "tilewright");
  await scans.put("secret.txt", "of a patient");
}, 180_000);
afterAll(async () => {
  await stack?.stop();
  host?.closeAllConnections();
  host?.close();
  rmSync(directory, { recursive: true, force: true });
});

interface Answer {
  status: number;
  body: string;
}

/** A request whose path is sent unchanged. */
function ask(
  path: string,
  {
    method = "GET",
    headers = {},
    body,
    at = stack.url,
  }: { method?: string; headers?: Record<string, string>; body?: string | Buffer; at?: URL } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stated =
      body === undefined || "Transfer-Encoding" in headers || "Content-Length" in headers
        ? {}
        : { "Content-Length": String(Buffer.byteLength(body)) };
    const outgoing = request(
      {
        hostname: at.hostname,
        port: at.port,
        path,
        method,
        headers: { ...stated, ...headers },
        agent: false,
      },
      (answer) => {
        let text = "";
        answer.on("data", (chunk) => (text += chunk));
        answer.on("error", reject);
        answer.on("end", () => resolve({ status: answer.statusCode!, body: text }));
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

const authorized = (more: Record<string, string> = {}) => ({ Authorization: `Bearer ${TOKEN}`, ...more });
const json = { "Content-Type": "application/json" };

/** Checks of every error response. */
function expectProblem({ status, body }: Answer, about: unknown): { code: string; message: string } {
  expect(status, `${JSON.stringify(about)} ${body}`).toBeGreaterThanOrEqual(400);
  expect(body, JSON.stringify([about, status])).toMatch(/^\{/);
  const { error } = JSON.parse(body) as { error: { code: string; message: string } };
  expect(error.code).toMatch(/^[a-z_]+$/);
  expect(error.message).not.toMatch(/\n|^\s*$/);
  return error;
}

async function job(source: string): Promise<Answer> {
  return ask("/v1/jobs", {
    method: "POST",
    headers: authorized(json),
    body: JSON.stringify({ source, model: "pointwise" }),
  });
}

const DEVELOPMENT = [
  "/cdn-cgi/local/r2/public/tilewright-scans/secret.txt",
  "/cdn-cgi/local/r2/s3/tilewright-scans/secret.txt",
  "/cdn-cgi/local/explorer/api/r2/buckets",
  "/cdn-cgi/local/platform-proxy",
  "/cdn-cgi/local/scheduled",
  "/cdn-cgi/mf/scheduled",
  "/__cf_local/stream/x",
];

describe("routes for development", () => {
  it.each(DEVELOPMENT)("%s does not exist, neither at the front door nor behind it", async (path) => {
    const behind = await stack.miniflare.ready;
    for (const way of [
      path,
      `/${path}`,
      path.replace("cdn", "%63dn"),
      `/v1/..${path}`,
      `/v1/%2e%2e${path}`,
    ]) {
      for (const at of [stack.url, new URL(`http://127.0.0.2:${stack.url.port}`), behind]) {
        for (const token of [{}, authorized()]) {
          const { status, body } = await ask(way, { at, headers: token });
          expect([400, 401, 404], `${way} at ${at.port}`).toContain(status);
          expect(body).not.toContain("of a patient");
        }
      }
    }
  });

  it.each<Record<string, string>>([
    { "MF-Original-URL": "http://localhost/cdn-cgi/local/r2/public/tilewright-scans/secret.txt" },
    { "MF-Route-Override": "tilewright-segment" },
    { "MF-Custom-Fetch-Service": "outbound" },
    { "MF-Proxy-Shared-Secret": "guess" },
    { "MF-Op-Secret": "guess", "MF-Op": "GET", "MF-Op-Target": "1" },
    { "MF-CF-Blob": "{" },
    { "X-Forwarded-Proto": "https", "X-Forwarded-Host": "elsewhere" },
  ])("%j changes nothing", async (headers) => {
    expect((await ask("/healthz", { headers })).status).toBe(200);
    expect((await ask(`/v1/jobs/${JOB}`, { headers })).status).toBe(401);
    expect((await ask(`/v1/jobs/${JOB}`, { headers: authorized(headers) })).status).toBe(404);
  });

  it("workerd listens on loopback only, the front door on its own address", async () => {
    const behind = await stack.miniflare.ready;
    expect(behind.hostname).toBe("127.0.0.1");
    const refused = await ask("/healthz", { at: new URL(`http://127.0.0.2:${behind.port}`) }).catch(
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(refused).toBe("ECONNREFUSED");
    expect((await ask("/healthz", { at: new URL(`http://127.0.0.2:${stack.url.port}`) })).status).toBe(200);
  });

  it("only the front door is reachable from another machine", async ({ skip }) => {
    const name = `tw${process.pid}`;
    const sh = (script: string) =>
      execFileSync("/bin/sh", ["-ec", script], { encoding: "utf8", stdio: "pipe" });
    try {
      sh(`ip netns add ${name}
        ip link add ${name}a type veth peer name ${name}b netns ${name}
        ip addr add 10.231.7.1/30 dev ${name}a && ip link set ${name}a up
        ip -n ${name} addr add 10.231.7.2/30 dev ${name}b && ip -n ${name} link set ${name}b up`);
    } catch {
      sh(`ip netns del ${name} 2>/dev/null || true`);
      skip("no second network can be made here");
    }
    try {
      const behind = await stack.miniflare.ready;
      // In another process, because this one is the front door.
      const node = async (port: string, path: string) =>
        (
          await promisify(execFile)(
            "ip",
            [
              ...["netns", "exec", name, process.execPath, "-e"],
              `fetch("http://10.231.7.1:${port}${path}").then(async (r) => console.log(r.status, await r.text()), (e) => console.log("refused", e.cause?.code))`,
            ],
            { encoding: "utf8" },
          )
        ).stdout;
      expect(await node(stack.url.port, "/healthz")).toMatch(/^200 /);
      expect(await node(stack.url.port, DEVELOPMENT[0]!)).toMatch(/^404 /);
      expect(await node(stack.url.port, `/v1/jobs/${JOB}`)).toMatch(/^401 /);
      expect(await node(behind.port, "/healthz")).toMatch(/^refused ECONNREFUSED/);
    } finally {
      sh(`ip netns del ${name}`);
    }
  });
});

describe("invalid requests", () => {
  it.each(["TRACE", "PROPFIND", "PATCH", "OPTIONS", "PURGE"])(
    "%s is rejected with a message",
    async (method) => {
      const answer = await ask(`/v1/jobs/${JOB}`, { method, headers: authorized() });
      expect([404, 405]).toContain(answer.status);
      expectProblem(answer, method);
    },
  );

  it.each([
    "text/plain",
    "application/xml",
    "multipart/form-data; boundary=x",
    "",
    "application/jsonx",
    "\u00ff",
  ])("a body of the type %j is rejected with 415", async (type) => {
    for (const [method, path] of [
      ["POST", "/v1/jobs"],
      ["POST", "/v1/uploads"],
      ["POST", "/v1/folders"],
      ["POST", `/v1/folders/${JOB}/complete`],
      ["POST", "/v1/cohorts"],
      ["POST", `/v1/cohorts/${JOB}/rows`],
      ["POST", `/v1/cohorts/${JOB}/retry`],
      ["PATCH", `/v1/cohorts/${JOB}`],
      ["POST", `/v1/work/${JOB}/shards/1`],
    ] as const) {
      const headers = authorized(type ? { "Content-Type": type } : {});
      const answer = await ask(path, { method, headers, body: "{}" });
      expect(answer.status, `${path} ${answer.body}`).toBe(415);
      expectProblem(answer, path);
    }
  });

  it.each([
    ["half a surrogate pair", '{"source":"r2://tilewright-scans/\\ud800","name":"\\ud800","id":"\\ud800"}'],
    ["half a surrogate pair as a name", '{"\\udfff":1}'],
    ["what is no UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ["what is no JSON", "{"],
    ["nothing", ""],
    ["a deep nesting", "[".repeat(60_000)],
    ["a deep nesting that ends", "[".repeat(8_000) + "]".repeat(8_000)],
  ])("a body with %s is rejected with 400 or 422", async (_, body) => {
    for (const path of ["/v1/jobs", "/v1/uploads", "/v1/folders", "/v1/cohorts"]) {
      const answer = await ask(path, { method: "POST", headers: authorized(json), body });
      expect([400, 413, 422], `${path} ${answer.body}`).toContain(answer.status);
      expectProblem(answer, path);
    }
  });

  it.each(
    [
      "x",
      "0",
      `${JOB}0`,
      JOB.toUpperCase(),
      "%00",
      "%ff",
      "%ed%a0%80",
      "..%2f..%2fresults",
      "a%2fb",
      "%252e",
      ...["..;", "constructor", "__proto__", "%F0%9F%92%A9", "a".repeat(5000)],
    ].map((id) => [id.slice(0, 40), id] as const),
  )("the job %s is not there", async (_, id) => {
    for (const [method, tail] of [
      ["GET", ""],
      ["DELETE", ""],
      ["DELETE", "/data"],
      ["GET", "/events"],
      ["GET", "/outputs"],
      ["GET", "/outputs/run.json"],
      ["HEAD", "/outputs/run.json"],
    ] as const) {
      const answer = await ask(`/v1/jobs/${id}${tail}`, { method, headers: authorized() });
      expect([400, 404, 422], `${method} ${tail} ${answer.body}`).toContain(answer.status);
      if (method !== "HEAD") expectProblem(answer, id);
    }
  });

  it.each([
    "..%2f..%2fwork",
    "%2e%2e/%2e%2e/x",
    "..%5c..",
    "a//b",
    "%00",
    "%2F",
    "run.json%00.png",
    "%c0%ae%c0%ae/x",
  ])("no path leaves the results of a job: %s", async (path) => {
    for (const id of [JOB, "%2e%2e"]) {
      const answer = await ask(`/v1/jobs/${id}/outputs/${path}`, { headers: authorized() });
      expect([400, 404], answer.body).toContain(answer.status);
    }
  });

  it("rejects bodies that are too large, stated or not", async () => {
    const large = Buffer.alloc(3_000_000, 32);
    for (const path of ["/v1/jobs", "/v1/uploads", "/v1/folders", "/v1/cohorts"]) {
      const answer = await ask(path, { method: "POST", headers: authorized(json), body: large });
      expect(answer.status, path).toBe(413);
      expectProblem(answer, path);
      const chunked = await ask(path, {
        method: "POST",
        headers: authorized({ ...json, "Transfer-Encoding": "chunked" }),
        body: large,
      });
      expect(chunked.status, path).toBe(413);
    }
    const huge = await ask("/v1/jobs", {
      method: "POST",
      headers: authorized({ ...json, "Content-Length": String(2 ** 40) }),
      body: "{",
    }).catch((error: Error) => ({ status: 413, body: error.message }));
    expect(huge.status).toBe(413);
  });

  it("slow and silent connections block no others", async () => {
    const sockets = Array.from({ length: 150 }, () => connect(Number(stack.url.port), "127.0.0.1"));
    for (const [n, socket] of sockets.entries()) {
      socket.on("error", () => {});
      if (n % 3 === 0) socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ");
      if (n % 3 === 1) {
        socket.write(
          `POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{`,
        );
      }
    }
    for (let n = 0; n < 5; n++) expect((await ask("/healthz")).status).toBe(200);
    for (const socket of sockets) socket.destroy();
  });

  it("get no access without a token, and only that of its scopes with one", async () => {
    const body = JSON.stringify({ source: "r2://tilewright-scans/secret.txt" });
    for (const headers of [{}, { Authorization: "Bearer " }, { Authorization: `Basic ${TOKEN}` }]) {
      const all = { ...json, ...headers } as Record<string, string>;
      expect((await ask("/v1/jobs", { method: "POST", headers: all, body })).status).toBe(401);
      expect((await ask(`/v1/jobs/${JOB}?token=${TOKEN}`, { headers: all })).status).toBe(401);
      expect((await ask(`/v1/work/${JOB}/plan`, { headers: all })).status).toBe(401);
    }
    const reader = { ...json, Authorization: `Bearer ${READ_TOKEN}` };
    expect((await ask("/v1/jobs", { method: "POST", headers: reader, body })).status).toBe(403);
    expect((await ask(`/v1/work/${JOB}/plan`, { headers: reader })).status).toBe(403);
  });
});

describe("sources that redirect", () => {
  const addresses = [
    ...[
      "127.0.0.1",
      "localhost",
      "2130706433",
      "0x7f000001",
      "0177.0.0.1",
      "127.1",
      "[::1]",
      "[::ffff:127.0.0.1]",
    ],
    ...[
      "0.0.0.0",
      "169.254.169.254",
      "[fd00:ec2::254]",
      "10.0.0.1",
      "192.168.1.1",
      "metadata.google.internal",
    ],
  ];
  it.each(addresses)("http://%s is not read", async (address) => {
    const before = asked;
    for (const source of [
      `http://${address}/x.tiff`,
      `https://${address}/x.tiff`,
      `http://${address}:${hostAt.split(":")[1]}@evil.example/x.tiff`,
      `http://user:pass@${hostAt}/x.tiff`,
      `http://${address}:1/x.tiff`,
    ]) {
      const answer = await job(source);
      expect(answer.status, source).toBe(422);
      expect(expectProblem(answer, source).code).toMatch(/source_refused|bad_request/);
    }
    expect(asked).toBe(before);
  });

  it.each([
    "r2://tilewright-results/work/x",
    "r2://tilewright-models/pointwise/model.json",
    "r2://tilewright-scans/../tilewright-models/x",
    "r2://tilewright-scans//secret.txt",
    "s3://other/key",
    "s3://slides/../other/key",
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "gopher://127.0.0.1/x",
    "data:text/plain,x",
    "javascript:alert(1)",
  ])("%s is not read", async (source) => {
    const before = asked;
    const answer = await job(source);
    expect(answer.status, source).toBe(422);
    expectProblem(answer, source);
    expect(asked).toBe(before);
  });

  it("do not reach hosts that are not allowed", async () => {
    for (const location of [
      `http://127.0.0.1:${stack.url.port}/healthz`,
      "http://169.254.169.254/latest/meta-data/",
      "file:///etc/passwd",
      "//[::1]/x",
      `http://${hostAt}/loop.tiff`,
    ]) {
      behave = (_, response) => response.writeHead(302, { Location: location }).end();
      const answer = await job(`http://${hostAt}/x.tiff`);
      expect(answer.status, `${location} ${answer.body}`).toBe(422);
      expectProblem(answer, location);
    }
  });
});

describe("allowed hosts that misbehave", () => {
  it("a host that never responds is a timeout", async () => {
    behave = () => {};
    const answer = await job(`http://${hostAt}/never.tiff`);
    expect(answer.status).toBe(504);
    expect(expectProblem(answer, "").code).toBe("source_timeout");
  });

  it("an endless response is not read to its end", async () => {
    let sent = 0;
    behave = (_, response) => {
      response.writeHead(206, { ETag: '"one"', "Content-Range": "bytes 0-0/100000000" });
      const chunk = Buffer.alloc(64 * 1024);
      const more = () => {
        while (!response.destroyed && sent < 512 * 2 ** 20) {
          sent += chunk.length;
          if (!response.write(chunk)) return void response.once("drain", more);
        }
        response.destroy();
      };
      more();
    };
    const answer = await job(`http://${hostAt}/endless.tiff`);
    // Creating the job reads only the head; planning fails.
    if (answer.status === 202) {
      const { id } = JSON.parse(answer.body) as { id: string };
      const { state, error } = await service.ended(id);
      expect(state).toBe("failed");
      expect(error!.message).toMatch(
        /than the \d+ bytes that it was asked for|where \d+ to \d+ were asked for/,
      );
    } else expectProblem(answer, "");
    expect(sent).toBeLessThan(256 * 2 ** 20);
    expect((await ask("/healthz")).status).toBe(200);
  });

  it.each([
    [
      "of keys that are not read",
      (n: number) =>
        Array.from(
          { length: 1000 },
          (_, i) => `<Contents><Key>dir/../${n}-${i}/</Key><ETag>"e"</ETag><Size>1</Size></Contents>`,
        ).join(""),
    ],
    ["of nothing", () => ""],
    [
      "of one key a page that is not read",
      (n: number) => `<Contents><Key>a//${n}</Key><ETag>"e"</ETag><Size>1</Size></Contents>`,
    ],
  ])("stops an endless listing %s", async (_, contents) => {
    let pages = 0;
    behave = (path, response) => {
      if (!path.includes("list-type")) return void response.writeHead(404).end();
      pages++;
      const xml = `<ListBucketResult><IsTruncated>true</IsTruncated>${contents(pages)}<NextContinuationToken>t${pages}</NextContinuationToken></ListBucketResult>`;
      response.writeHead(200, { "Content-Type": "application/xml" }).end(xml);
    };
    const answer = await job("s3://slides/series");
    expect([422, 504], answer.body).toContain(answer.status);
    expectProblem(answer, "");
    expect(pages).toBeLessThanOrEqual(200);
  });

  it("an unreachable host is reported", async () => {
    behave = (_, response) => response.destroy();
    const answer = await job(`http://${hostAt}/gone.tiff`);
    expect(answer.status).toBe(503);
    expect(expectProblem(answer, "")).toMatchObject({ code: "source_unavailable" });
  });
});

describe("webhooks", () => {
  it("accept no unauthenticated events", async () => {
    const body = JSON.stringify(s3Body("a.tiff"));
    const post = (kind: string, headers: Record<string, string>, text = body) =>
      ask(`/v1/webhooks/${kind}`, { method: "POST", headers: { ...json, ...headers }, body: text });
    for (const wrong of ["", TOKEN, `${WEBHOOK_TOKEN}x`, WEBHOOK_TOKEN.toUpperCase()]) {
      expect((await post("s3", { Authorization: `Bearer ${wrong}` })).status).toBe(401);
      expect((await post("minio", { Authorization: `Bearer ${wrong}` })).status).toBe(401);
      expect((await post("eventbridge", { "X-Api-Key": wrong })).status).toBe(401);
    }
    const sns = new SnsSender();
    for (const fields of [
      {},
      { Signature: "AAAA" },
      { SigningCertURL: `http://${hostAt}/cert.pem` },
      {
        SigningCertURL: "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-0.pem",
      },
      { TopicArn: "arn:aws:sns:eu-central-1:999999999999:scans" },
      { Timestamp: "2001-01-01T00:00:00.000Z" },
    ]) {
      const before = asked;
      const message = JSON.stringify({ ...sns.notification(s3Body("a.tiff")), ...fields });
      const answer = await post("sns", { "Content-Type": "text/plain" }, message);
      // 503 where the certificate of a message cannot be fetched.
      expect([400, 403, 503], JSON.stringify(fields)).toContain(answer.status);
      expect(asked).toBe(before);
    }
    const huge = JSON.stringify({ Records: [], x: "y".repeat(2_000_000) });
    expect((await post("s3", { Authorization: `Bearer ${WEBHOOK_TOKEN}` }, huge)).status).toBe(413);
    for (const odd of ["{", "[]", "null", '{"Records":[{"s3":{"object":{"key":"\\ud800"}}}]}', "\u0000"]) {
      const answer = await post("s3", { Authorization: `Bearer ${WEBHOOK_TOKEN}` }, odd);
      expect(answer.status, odd).toBe(400);
    }
  });
});

interface Operation {
  parameters?: { name: string; in: string }[];
  requestBody?: { content: Record<string, { schema?: unknown }> };
}

describe("every route of /v1/openapi.json", () => {
  it("responds to any request with a message and never with an internal error", async () => {
    const document = JSON.parse((await ask("/v1/openapi.json")).body) as {
      paths: Record<string, Record<string, Operation>>;
    };
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        path,
        method: method.toUpperCase(),
        operation,
      })),
    );
    expect(operations.length).toBeGreaterThan(25);
    const names = [...JSON.stringify(document).matchAll(/"([a-zA-Z]{2,20})":/g)].map((match) => match[1]!);
    const text = fc.oneof(
      fc.constantFrom(
        JOB,
        "0",
        "1",
        "-1",
        "1e9",
        "x",
        "",
        "..",
        "%2e%2e",
        "%00",
        "%ff",
        "%ED%A0%80",
        "constructor",
      ),
      fc.string({ maxLength: 30 }).map((s) => encodeURIComponent(s.toWellFormed())),
    );
    const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom(
          null,
          true,
          0,
          -1,
          1e308,
          5e-324,
          2 ** 53,
          "",
          JOB,
          "r2://tilewright-scans/a",
          "\ud800",
          "constructor",
        ),
        fc.string({ maxLength: 20 }),
        fc.array(tie("any"), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom(...new Set(names), "__proto__"), tie("any"), { maxKeys: 5 }),
      ),
    })).any;
    const hostile = fc.record({
      operation: fc.constantFrom(...operations),
      texts: fc.array(text, { minLength: 4, maxLength: 4 }),
      query: fc.array(fc.tuple(fc.constantFrom("cursor", "urls", "x", "__proto__"), text), { maxLength: 2 }),
      type: fc.constantFrom(
        "application/json",
        "application/json",
        "text/plain",
        "application/octet-stream",
        "",
      ),
      range: fc.constantFrom(
        undefined,
        "bytes=0-",
        "bytes=-1",
        "bytes=9-1",
        "bytes=0-99999999999999999999",
        "x",
      ),
      body: value,
    });
    await fc.assert(
      fc.asyncProperty(hostile, async ({ operation: { path, method }, texts, query, type, range, body }) => {
        // Follows no address, and creates no cohort that starts jobs.
        let n = 0;
        const filled = path.replace(/\{[^}]+\}/g, () => texts[n++ % texts.length] || "x");
        const search = query.map(([name, v]) => `${name}=${v}`).join("&");
        const headers = authorized({
          ...(type ? { "Content-Type": type } : {}),
          ...(range ? { Range: range } : {}),
          "X-Api-Key": WEBHOOK_TOKEN,
          ...(path.includes("webhooks") ? { Authorization: `Bearer ${WEBHOOK_TOKEN}` } : {}),
        });
        const sent = /GET|HEAD/.test(method) ? undefined : JSON.stringify(body);
        const answer = await ask(`${filled}${search ? `?${search}` : ""}`, { method, headers, body: sent });
        const about = { method, filled, search, type, sent, answer };
        expect([500, 502], JSON.stringify(about)).not.toContain(answer.status);
        if (answer.status >= 400 && method !== "HEAD") expectProblem(answer, about);
      }),
      { seed: 16, numRuns: 1500 },
    );
  }, 300_000);

  it("responds to requests with one invalid field with a message", async () => {
    behave = (_, response) => response.writeHead(404).end();
    const job = {
      model: "pointwise",
      variant: "fp32",
      mpp: 0.5,
      series: 1,
      settings: { level: 0, roi: [0, 0, 10, 10], overlapRatio: 0.5, precision: "u8", channels: [0] },
      outputs: ["labels.geojson"],
      segType: "binary",
    };
    const source = "r2://tilewright-scans/secret.txt";
    const limits = { concurrency: 2, spendLimitUsd: 1, largestFirst: true };
    const rows = [{ id: "a", source, mpp: 0.5 }];
    const templates: [string, string, unknown][] = [
      ["POST", "/v1/jobs", { source, ...job, callback: "https://lab.example.org/x" }],
      ["POST", "/v1/jobs", { source: `http://${hostAt}/a.tiff`, ...job }],
      ["POST", "/v1/uploads", { name: "a.tiff", byteLength: 5, request: job, presigned: false }],
      ["POST", "/v1/folders", { name: "a.zarr" }],
      ["POST", `/v1/folders/${JOB}/complete`, { name: "a.zarr", etag: JOB, request: job }],
      ["POST", "/v1/cohorts", { job, limits, rows }],
      ["POST", `/v1/cohorts/${JOB}/rows`, { rows }],
      ["PATCH", `/v1/cohorts/${JOB}`, limits],
      ["POST", `/v1/cohorts/${JOB}/retry`, { ids: ["a"] }],
      ["POST", `/v1/work/${JOB}/shards/1`, { event: "done", report: { windows: 1, bytesRead: 1 } }],
      ["POST", "/v1/webhooks/s3", s3Body("a.tiff")],
      ["POST", "/v1/webhooks/minio", minioBody("a.tiff")],
      ["POST", "/v1/webhooks/eventbridge", eventBridgeBody("a.tiff")],
    ];
    const odd = fc.constantFrom<unknown>(
      ...[
        null,
        true,
        -1,
        0,
        1.5,
        1e308,
        -1e308,
        2 ** 53,
        5e-324,
        "",
        " ",
        "\0",
        "\u202e",
        "\ud800",
        "a".repeat(9000),
      ],
      ...[
        "../x",
        "a/b",
        "r2://tilewright-scans/",
        "http://[",
        "https://%",
        "s3://slides/%ff",
        "constructor",
        "NaN",
      ],
      ...[[], {}, [[]], { length: 1e9 }, Array.from({ length: 2000 }, () => 0), { toString: 1 }],
    );
    const fields = (value: unknown, path: string[] = []): string[][] =>
      typeof value === "object" && value !== null
        ? Object.entries(value).flatMap(([name, inner]) => [
            [...path, name],
            ...fields(inner, [...path, name]),
          ])
        : [];
    const one = fc
      .constantFrom(...templates)
      .chain(([method, path, body]) =>
        fc.tuple(fc.constant({ method, path, body }), fc.constantFrom(...fields(body)), odd),
      );
    await fc.assert(
      fc.asyncProperty(one, async ([{ method, path, body }, field, value]) => {
        const sent = structuredClone(body) as Record<string, never>;
        const holder = field.slice(0, -1).reduce<Record<string, never>>((at, name) => at[name]!, sent);
        (holder as Record<string, unknown>)[field.at(-1)!] = value;
        const token = path.includes("webhooks") ? WEBHOOK_TOKEN : TOKEN;
        const headers = { ...json, Authorization: `Bearer ${token}`, "X-Api-Key": WEBHOOK_TOKEN };
        const answer = await ask(path, { method, headers, body: JSON.stringify(sent) });
        const about = { method, path, field, value: String(JSON.stringify(value)).slice(0, 100), answer };
        expect([500, 502, 503], JSON.stringify(about)).not.toContain(answer.status);
        if (answer.status >= 400) expectProblem(answer, about);
      }),
      { seed: 16, numRuns: 800 },
    );
  }, 300_000);

  it("has logged no internal error", () => {
    const traces = logged.filter((line) => /\n\s+at |TypeError|RangeError|URIError|SyntaxError/.test(line));
    expect(traces).toEqual([]);
  });
});

describe("a service without progress", () => {
  it("fails its health check while its queue delivers nothing, and recovers", async () => {
    // Each event waits for a source that never responds.
    behave = () => {};
    const body = JSON.stringify(s3Body("slow-a.tiff", "slow-b.tiff", "slow-c.tiff"));
    const headers = { ...json, Authorization: `Bearer ${WEBHOOK_TOKEN}` };
    expect((await ask("/v1/webhooks/s3", { method: "POST", headers, body })).status).toBe(200);
    const still = await until(async () => {
      const answer = await ask("/healthz");
      return answer.status === 503 ? answer : undefined;
    }, 60);
    expect(JSON.parse(still.body)).toEqual({
      ok: false,
      reason: expect.stringMatching(/^the event queue has delivered nothing for \d+ s$/),
    });
    behave = (_, response) => response.writeHead(404).end();
    await until(async () => ((await ask("/healthz")).status === 200 ? true : undefined), 90);
  }, 180_000);
});
