import { type Miniflare, type Request, Response } from "miniflare";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Bundle, bundleWorker, runWorker } from "../run-worker.ts";
import { CERTIFICATE_URL, SnsSender, SUBSCRIBE_URL, TOPIC } from "./sns-sender.ts";
import { eventBridgeBody, minioBody, s3Body } from "./storage-messages.ts";

const TOKEN = "token-0123456789abcdef";
const sender = new SnsSender();
let bundle: Bundle;
let worker: Miniflare;
let url: URL;
/** Requests of the Worker to other hosts. */
let fetched: Request[];

/** Other hosts. */
function internet(request: Request): Response {
  fetched.push(request);
  const { href, host, pathname } = new URL(request.url);
  if (href === CERTIFICATE_URL) return new Response(sender.certificate.pem);
  if (href === SUBSCRIBE_URL) return new Response("<ok/>");
  if (host === "sns.us-east-1.amazonaws.com") return moved(CERTIFICATE_URL);
  if (host === "slides.example.org" || host === "s3.example.org") {
    if (pathname === "/near") return moved("/dir/a.svs");
    if (pathname === "/far") return moved("http://169.254.169.254/latest/meta-data");
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("Range") ?? "")!;
    const part = "0123456789".slice(Number(from), Number(to) + 1);
    const headers = { ETag: '"one"', "Content-Range": `bytes ${from}-${to}/10` };
    return new Response(part, { status: 206, headers });
  }
  return new Response("outside of what is allowed");
}

function moved(location: string): Response {
  return new Response("moved", { status: 302, headers: { Location: location } });
}

beforeAll(async () => {
  bundle = await bundleWorker("test/edge/jobs/events-worker/wrangler.toml");
  worker = await runWorker(bundle, {
    internet,
    buckets: ["SCANS"],
    bindings: {
      TOKENS: JSON.stringify([{ name: "tester", token: TOKEN, scopes: ["read"] }]),
      WEBHOOKS: JSON.stringify({
        s3: { token: TOKEN },
        sns: { topics: [TOPIC] },
        eventbridge: { apiKey: TOKEN },
        minio: { token: TOKEN },
      }),
      SCANS_BUCKET: "scans",
      SOURCES: JSON.stringify([
        { kind: "http", host: "slides.example.org" },
        { kind: "s3", bucket: "slides", endpoint: "https://s3.example.org", region: "eu-central-1" },
      ]),
      SOURCE_KEYS: JSON.stringify({ slides: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" } }),
    },
  });
  url = await worker.ready;
});
afterAll(async () => {
  await worker?.dispose();
  await bundle?.remove();
});
beforeEach(() => {
  fetched = [];
});

async function post(kind: string, body: unknown, headers: Record<string, string> = {}) {
  const init = { method: "POST", body: JSON.stringify(body), headers };
  const response = await worker.dispatchFetch(new URL(`/v1/webhooks/${kind}`, url), init);
  return { status: response.status, answer: await response.json() };
}

async function acceptedKeys(): Promise<string[]> {
  const response = await worker.dispatchFetch(new URL("/accepted", url));
  return ((await response.json()) as { key: string }[]).map(({ key }) => key);
}

describe("SNS, verified by workerd", () => {
  test.each(["1", "2"])("accepts signature version %s", async (SignatureVersion) => {
    const key = `sns-${SignatureVersion}.svs`;
    const message = sender.notification(s3Body(key), { SignatureVersion });
    expect(await post("sns", message)).toEqual({ status: 200, answer: { accepted: 1, ignored: 0 } });
    expect(await post("sns", message)).toEqual({ status: 200, answer: { accepted: 0, ignored: 1 } });
    expect((await acceptedKeys()).filter((k) => k === key)).toHaveLength(1);
    expect(await post("sns", { ...message, Message: JSON.stringify(s3Body("other.svs")) })).toMatchObject({
      status: 403,
    });
    expect(await acceptedKeys()).not.toContain("other.svs");
  });

  test("confirms a subscription", async () => {
    expect((await post("sns", sender.confirmation())).status).toBe(200);
    expect(fetched.map((r) => r.url)).toContain(SUBSCRIBE_URL);
  });

  test("does not follow a redirect of the certificate", async () => {
    const SigningCertURL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem";
    expect((await post("sns", sender.notification(s3Body("a"), { SigningCertURL }))).status).toBe(503);
    expect(fetched.map((r) => r.url)).toEqual([SigningCertURL]);
  });
});

test("accepts events of the other senders", async () => {
  const bearer = { Authorization: `Bearer ${TOKEN}` };
  expect((await post("s3", s3Body("s3.svs"), bearer)).status).toBe(200);
  expect((await post("minio", minioBody("minio.svs"), bearer)).status).toBe(200);
  expect((await post("eventbridge", eventBridgeBody("bridge.svs"), { "X-Api-Key": TOKEN })).status).toBe(200);
  expect(await acceptedKeys()).toEqual(expect.arrayContaining(["s3.svs", "minio.svs", "bridge.svs"]));
  for (const kind of ["s3", "minio", "eventbridge"]) expect((await post(kind, {})).status).toBe(401);
  const head = await worker.dispatchFetch(new URL("/v1/webhooks/minio", url), { method: "HEAD" });
  expect(head.status).toBe(200);
});

describe("sources", () => {
  async function read(uri: string, token = TOKEN) {
    const address = new URL(`/read?uri=${encodeURIComponent(uri)}`, url);
    const response = await worker.dispatchFetch(address, { headers: { Authorization: `Bearer ${token}` } });
    return { status: response.status, answer: (await response.json()) as { error?: { code: string } } };
  }

  test("read from R2", async () => {
    const bucket = await worker.getR2Bucket("SCANS");
    await bucket.put("dir/ä #1.svs", "0123456789");
    expect(await read("r2://scans/dir/ä #1.svs")).toMatchObject({
      status: 200,
      answer: { name: "ä #1.svs", uri: "r2://scans/dir/ä #1.svs", info: { byteLength: 10 }, text: "123" },
    });
    expect(await read("r2://scans/none.svs")).toMatchObject({ status: 200, answer: { name: "none.svs" } });
    expect((await read("r2://models/model.json")).answer.error!.code).toBe("source_refused");
    expect(fetched).toEqual([]);
  });

  test("read from a web server, through an allowed redirect", async () => {
    const whole = { info: { byteLength: 10, etag: '"one"' }, text: "123" };
    expect((await read("https://slides.example.org/dir/a.svs")).answer).toMatchObject(whole);
    expect((await read("https://slides.example.org/near")).answer).toMatchObject(whole);
  });

  test("follow no redirect to a host that is not allowed", async () => {
    expect(await read("https://slides.example.org/far")).toMatchObject({
      status: 422,
      answer: { error: { code: "source_refused" } },
    });
    expect(fetched.map((r) => r.url)).toEqual(["https://slides.example.org/far"]);
    expect((await read("https://evil.example/a.svs")).status).toBe(422);
    expect(fetched).toHaveLength(1);
  });

  test("read from S3, with headers that workerd adds left out of the signature", async () => {
    expect((await read("s3://slides/dir/a b.svs")).answer).toMatchObject({ text: "123" });
    for (const { url, headers } of fetched) {
      expect(url).toBe("https://s3.example.org/slides/dir/a%20b.svs");
      expect(headers.get("Authorization")).toContain("SignedHeaders=host;x-amz-content-sha256;x-amz-date,");
    }
    expect(fetched).toHaveLength(2);
  });

  test("need the scope read", async () => {
    expect((await read("r2://scans/a", "wrong-0123456789abcdef")).status).toBe(401);
  });
});
