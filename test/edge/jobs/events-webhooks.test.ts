import { OpenAPIHono } from "@hono/zod-openapi";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { StorageEvent } from "../../../src/edge/jobs/events/storage-event.ts";
import { createWebhookRoutes, type WebhookEnv } from "../../../src/edge/jobs/events/webhook-routes.ts";
import { toHttpError } from "../../../src/service/http-error.ts";
import { makeCertificate } from "./make-certificate.ts";
import { CERTIFICATE_URL, type Message, SnsSender, SUBSCRIBE_URL, TOPIC } from "./sns-sender.ts";
import { eventBridgeBody, minioBody, S3_TEST_EVENT, s3Body } from "./storage-messages.ts";

const TOKEN = "s3-0123456789abcdef";
const MINIO = "minio-0123456789abcdef";
const API_KEY = "bridge-0123456789abcdef";
const WEBHOOKS = JSON.stringify({
  s3: { token: TOKEN },
  sns: { topics: [TOPIC, "arn:aws-cn:sns:cn-north-1:123456789012:scans"] },
  eventbridge: { apiKey: API_KEY },
  minio: { token: MINIO },
});
const MINUTE_MS = 60_000;

const sender = new SnsSender();
let app: OpenAPIHono<WebhookEnv>;
let accepted: StorageEvent[];
let remembered: Set<string>;
let fetched: string[];
/** Responses by address. */
let pages: Record<string, () => Response>;
/** Error to throw instead of accepting. */
let failure: Error | undefined;
let logged: string;
let nowMs: number | undefined;

beforeEach(() => {
  accepted = [];
  remembered = new Set();
  fetched = [];
  failure = undefined;
  nowMs = undefined;
  logged = "";
  pages = {
    [CERTIFICATE_URL]: () => new Response(sender.certificate.pem),
    [SUBSCRIBE_URL]: () => new Response("<ConfirmSubscriptionResponse/>"),
  };
  app = new OpenAPIHono<WebhookEnv>();
  app.route(
    "/",
    createWebhookRoutes(() => ({
      accept: async (event) => {
        if (failure) throw failure;
        accepted.push(event);
      },
      seen: async (id) => remembered.has(id),
      remember: async (id) => void remembered.add(id),
      now: () => nowMs ?? Date.now(),
      fetch: (async (input: string, init?: RequestInit) => {
        fetched.push(input);
        expect(init?.redirect).toBe("manual");
        return pages[input]?.() ?? new Response("no", { status: 404 });
      }) as typeof fetch,
    })),
  );
  app.onError((error, c) => {
    const { status, code, message, headers } = toHttpError(error);
    return c.json({ error: { code, message } }, status, headers);
  });
  vi.spyOn(console, "error").mockImplementation((...args) => {
    logged += args.join(" ");
  });
});
afterEach(() => void vi.restoreAllMocks());

async function post(
  kind: string,
  body: unknown,
  headers: Record<string, string> = {},
  env: { WEBHOOKS?: string } = { WEBHOOKS },
) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const init = { method: "POST", body: text, headers };
  const response = await app.request(`/v1/webhooks/${kind}`, init, env);
  const answer = (await response.json()) as { error?: { code: string; message: string } };
  return { status: response.status, answer, code: answer.error?.code, headers: response.headers };
}

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
const SENDERS: [string, unknown, Record<string, string>][] = [
  ["s3", s3Body("a+b.svs"), bearer(TOKEN)],
  ["minio", minioBody("a+b.svs"), bearer(MINIO)],
  ["eventbridge", eventBridgeBody("a b.svs"), { "X-Api-Key": API_KEY }],
];

describe.each(SENDERS)("%s", (kind, body, proof) => {
  test("is accepted with its credentials", async () => {
    expect(await post(kind, body, proof)).toMatchObject({ status: 200, answer: { accepted: 1, ignored: 0 } });
    expect(accepted).toMatchObject([{ bucket: "slides", key: "a b.svs" }]);
  });

  test("is rejected without them, before its body is read", async () => {
    const wrong = [bearer("wrong-0123456789abcdef"), bearer(API_KEY), { "X-Api-Key": TOKEN }, undefined];
    for (const headers of wrong) {
      expect(await post(kind, "{", headers)).toMatchObject({ status: 401, code: "unauthorized" });
    }
    const query = `?token=${TOKEN}&X-Api-Key=${API_KEY}`;
    expect((await post(`${kind}${query}`, body)).status).toBe(401);
    expect(accepted).toEqual([]);
  });

  test("is rejected with an invalid body", async () => {
    for (const bad of ["", "{", "[]", "{}", '"x"']) {
      expect(await post(kind, bad, proof)).toMatchObject({ status: 400, code: "bad_event" });
    }
    const response = await app.request(
      `/v1/webhooks/${kind}`,
      { method: "POST", body: new Uint8Array([0x22, 0xff, 0x22]), headers: proof },
      { WEBHOOKS },
    );
    expect(response.status).toBe(400);
  });

  test("is rejected with a body that is too large, stated or not", async () => {
    const large = " ".repeat(256 * 1024) + JSON.stringify(body);
    expect(await post(kind, large, { ...proof, "Content-Length": String(large.length) })).toMatchObject({
      status: 413,
    });
    let pulled = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled++;
        controller.enqueue(new Uint8Array(64 * 1024).fill(32));
      },
    });
    const init = { method: "POST", body: endless, headers: proof, duplex: "half" } as RequestInit;
    expect((await app.request(`/v1/webhooks/${kind}`, init, { WEBHOOKS })).status).toBe(413);
    expect(pulled).toBeLessThan(10);
    const allowed = " ".repeat(256 * 1024 - JSON.stringify(body).length) + JSON.stringify(body);
    expect((await post(kind, allowed, proof)).status).toBe(200);
  });

  test("is asked to retry where events cannot be accepted, without a reason", async () => {
    failure = new Error("queue number 7 is full");
    const { status, answer, headers } = await post(kind, body, proof);
    expect(status).toBe(503);
    expect(headers.get("Retry-After")).toBe("20");
    expect(JSON.stringify(answer)).not.toContain("number 7");
    expect(logged).toContain("number 7");
  });

  test("gives 404 when it is not configured", async () => {
    const others = JSON.parse(WEBHOOKS);
    delete others[kind];
    for (const WEBHOOKS of [undefined, "{}", JSON.stringify(others)]) {
      expect(await post(kind, body, proof, { WEBHOOKS })).toMatchObject({ status: 404, code: "not_found" });
    }
  });

  test("accepts POST only", async () => {
    for (const method of ["GET", "PUT", "DELETE"]) {
      const response = await app.request(`/v1/webhooks/${kind}`, { method, headers: proof }, { WEBHOOKS });
      expect(response.status).toBe(405);
      expect(response.headers.get("Allow")).toContain("POST");
    }
  });
});

test("a test event of S3 is acknowledged and ignored", async () => {
  expect(await post("s3", S3_TEST_EVENT, bearer(TOKEN))).toMatchObject({
    status: 200,
    answer: { accepted: 0, ignored: 1 },
  });
});

test("MinIO can check the endpoint where it is configured", async () => {
  const head = (WEBHOOKS: string | undefined) =>
    app.request("/v1/webhooks/minio", { method: "HEAD" }, { WEBHOOKS });
  expect((await head(WEBHOOKS)).status).toBe(200);
  expect((await head(undefined)).status).toBe(404);
  expect((await app.request("/v1/webhooks/s3", { method: "HEAD" }, { WEBHOOKS })).status).toBe(405);
});

test.each(["gcs", "s3/x", "sns%2Fx", ""])("gives 404 for the webhook %s", async (kind) => {
  const response = await app.request(`/v1/webhooks/${kind}`, { method: "POST" }, { WEBHOOKS });
  expect(response.status).toBe(404);
});

test.each([
  "not JSON",
  "[]",
  JSON.stringify({ s3: { token: "short-secret" } }),
  JSON.stringify({ s3: { token: TOKEN }, gcs: {} }),
  JSON.stringify({ s3: { token: TOKEN }, sns: { topics: [] } }),
  JSON.stringify({ s3: { token: TOKEN }, sns: { topics: ["*"] } }),
  JSON.stringify({ s3: { token: TOKEN }, sns: { topics: ["arn:aws:sns:eu-central-1:123456789012:*"] } }),
])("a Worker with WEBHOOKS of %s accepts no events and reveals no secret", async (WEBHOOKS) => {
  const answer = await post("s3", s3Body("a"), bearer(TOKEN), { WEBHOOKS });
  expect(answer).toMatchObject({ status: 503, code: "not_configured" });
  expect(JSON.stringify(answer) + logged).not.toMatch(/short-secret|0123456789abcdef/);
});

test("every route is documented", () => {
  const { paths } = app.getOpenAPIDocument({ openapi: "3.0.0", info: { title: "", version: "1" } });
  for (const kind of ["s3", "sns", "eventbridge", "minio"]) {
    const { post } = paths![`/v1/webhooks/${kind}`]!;
    expect(post!.requestBody).toBeDefined();
    expect(Object.keys(post!.responses!)).toEqual(
      expect.arrayContaining(["200", "400", "404", "413", "503"]),
    );
  }
  expect(paths!["/v1/webhooks/minio"]!.head).toBeDefined();
});

describe("sns", () => {
  const notify = (fields?: Message) => sender.notification(s3Body("a+b.svs"), fields);

  test.each(["1", "2"])("accepts a message with signature version %s, once", async (SignatureVersion) => {
    const extras: Message[] = [{}, { Subject: "Amazon S3 Notification" }, { Subject: "größe\nTimestamp" }];
    for (const extra of extras) {
      const message = notify({ SignatureVersion, ...extra });
      // In the format of SNS.
      const headers = { "Content-Type": "text/plain; charset=UTF-8" };
      expect(await post("sns", message, headers)).toMatchObject({ status: 200, answer: { accepted: 1 } });
      expect(await post("sns", message)).toMatchObject({
        status: 200,
        answer: { accepted: 0, ignored: 1 },
      });
    }
    expect(accepted.map((e) => e.key)).toEqual(["a b.svs", "a b.svs", "a b.svs"]);
  });

  test("the certificate is fetched once", async () => {
    for (let i = 0; i < 3; i++) expect((await post("sns", notify())).status).toBe(200);
    expect(fetched).toEqual([CERTIFICATE_URL]);
  });

  test("accepts a message again after a failure to accept its events", async () => {
    const message = notify();
    failure = new Error("full");
    expect((await post("sns", message)).status).toBe(503);
    failure = undefined;
    expect(await post("sns", message)).toMatchObject({ status: 200, answer: { accepted: 1 } });
  });

  test("a test event of S3 is acknowledged and ignored", async () => {
    expect(await post("sns", sender.notification(S3_TEST_EVENT))).toMatchObject({
      status: 200,
      answer: { accepted: 0, ignored: 1 },
    });
  });

  test("confirms a subscription to an allowed topic, once", async () => {
    const message = sender.confirmation();
    expect((await post("sns", message)).status).toBe(200);
    expect((await post("sns", message)).status).toBe(200);
    expect(fetched).toEqual([CERTIFICATE_URL, SUBSCRIBE_URL]);
    expect(accepted).toEqual([]);
  });

  test("a confirmation that failed can be retried", async () => {
    const message = sender.confirmation();
    for (const broken of [
      () => new Response("", { status: 500 }),
      () => Response.redirect("https://sns.eu-central-1.amazonaws.com/", 302),
      () => new Response("x".repeat(65 * 1024)),
      () => {
        throw new TypeError("no network");
      },
    ]) {
      pages[SUBSCRIBE_URL] = broken;
      expect((await post("sns", message)).status).toBe(503);
    }
    pages[SUBSCRIBE_URL] = () => new Response("");
    expect((await post("sns", message)).status).toBe(200);
  });

  test("accepts the end of a subscription", async () => {
    const message = sender.confirmation({ Type: "UnsubscribeConfirmation" });
    expect(await post("sns", message)).toMatchObject({ status: 200, answer: { accepted: 0 } });
    expect(fetched).toEqual([CERTIFICATE_URL]);
  });

  test.each([
    "Message",
    "MessageId",
    "Timestamp",
    "TopicArn",
    "Subject",
    "Signature",
    "SignatureVersion",
    "Type",
  ])("rejects a message whose %s was changed", async (field) => {
    const changed: Message = {
      Message: JSON.stringify(s3Body("other.svs")),
      MessageId: "00000000-0000-4000-8000-ffffffffffff",
      Timestamp: new Date(Date.now() - MINUTE_MS).toISOString(),
      TopicArn: "arn:aws-cn:sns:cn-north-1:123456789012:scans",
      Subject: "another",
      Signature: Buffer.alloc(256).toString("base64"),
      SignatureVersion: "1",
      Type: "UnsubscribeConfirmation",
    };
    const message = { ...notify({ Subject: "one" }), Token: "t", SubscribeURL: SUBSCRIBE_URL };
    expect(await post("sns", { ...message, [field]: changed[field] })).toMatchObject({
      status: 403,
      code: "bad_signature",
    });
    expect(accepted).toEqual([]);
    expect(remembered.size).toBe(0);
    expect((await post("sns", message)).status).toBe(200);
  });

  test.each(["Token", "SubscribeURL"])("rejects a confirmation whose %s was changed", async (field) => {
    const message = { ...sender.confirmation(), [field]: `${SUBSCRIBE_URL}&x=1` };
    expect(await post("sns", message)).toMatchObject({ status: 403, code: "bad_signature" });
    expect(fetched).toEqual([CERTIFICATE_URL]);
  });

  test.each([
    "arn:aws:sns:eu-central-1:123456789012:scans2",
    "arn:aws:sns:eu-central-1:210987654321:scans",
    "arn:aws:sns:us-east-1:123456789012:scans",
    "",
  ])("rejects the topic %s without fetching anything", async (TopicArn) => {
    for (const message of [notify({ TopicArn }), sender.confirmation({ TopicArn })]) {
      expect(await post("sns", message)).toMatchObject({ status: 403, code: "unknown_topic" });
    }
    expect(fetched).toEqual([]);
  });

  test.each([
    [-61, 403],
    [-59, 200],
    [0, 200],
    [61, 403],
  ])("a message dated %i minutes from now gives %i", async (minutes, status) => {
    const Timestamp = new Date(Date.now() + minutes * MINUTE_MS).toISOString();
    expect((await post("sns", notify({ Timestamp }))).status).toBe(status);
  });

  test.each([
    "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-1.pem",
    "https://a:b@sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem",
    "https://evil.example/sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://evil.example#sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://xsns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.evil.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.s3.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns-bucket.s3.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.eu-central-1.amazonaws.com/other.pem",
    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem?x=1",
    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem#x",
    "https://sns.eu-central-1.amazonaws.com/a/../a/SimpleNotificationService-1.pem",
    "https://sns.eu-central-1.amazonaws.com/?Action=Publish&x=/SimpleNotificationService-1.pem",
    "https://127.0.0.1/SimpleNotificationService-1.pem",
    "file:///SimpleNotificationService-1.pem",
    "SimpleNotificationService-1.pem",
    "",
  ])("does not fetch a certificate from %s", async (SigningCertURL) => {
    expect(await post("sns", notify({ SigningCertURL }))).toMatchObject({
      status: 403,
      code: "bad_signature",
    });
    expect(fetched).toEqual([]);
  });

  test.each([
    "https://sns.us-gov-west-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-1.pem",
    "https://sns.ap-southeast-7.amazonaws.com/SimpleNotificationService-0a9f.pem",
  ])("fetches a certificate from %s", async (SigningCertURL) => {
    pages[SigningCertURL] = pages[CERTIFICATE_URL]!;
    expect((await post("sns", notify({ SigningCertURL }))).status).toBe(200);
  });

  test.each([
    `https://evil.example/?Action=ConfirmSubscription&TopicArn=${TOPIC}&Token=1`,
    `http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=${TOPIC}&Token=1`,
    `https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=${TOPIC}2&Token=1`,
    `https://sns.eu-central-1.amazonaws.com/?Action=DeleteTopic&TopicArn=${TOPIC}`,
  ])("confirms no subscription at %s, even if signed", async (SubscribeURL) => {
    expect(await post("sns", sender.confirmation({ SubscribeURL }))).toMatchObject({ status: 403 });
    expect(fetched).toEqual([CERTIFICATE_URL]);
  });

  describe("an unusable certificate is rejected", () => {
    test.each([
      ["is another's", () => new Response(makeCertificate().pem), 403],
      ["has no key of RSA", () => new Response(makeCertificate({ kind: "ec" }).pem), 403],
      ["is no certificate", () => new Response("hello"), 403],
      ["is empty", () => new Response(null), 403],
      ["is large", () => new Response(" ".repeat(64 * 1024) + sender.certificate.pem), 503],
      ["is moved", () => Response.redirect("https://evil.example/a.pem", 301), 503],
      ["is gone", () => new Response("", { status: 404 }), 503],
      [
        "cannot be reached",
        () => {
          throw new TypeError("fetch failed: internal-proxy");
        },
        503,
      ],
    ] as [string, () => Response, number][])("because it %s", async (_, page, status) => {
      pages[CERTIFICATE_URL] = page;
      const answer = await post("sns", notify());
      expect(answer.status).toBe(status);
      expect(answer.answer.error!.message).not.toContain("internal");
      expect(fetched).toEqual([CERTIFICATE_URL]);
      expect(accepted).toEqual([]);
    });

    const day = 86_400_000;
    test.each([
      ["is over", -2 * day, -day],
      ["has not begun", day, 2 * day],
    ])("because its time %s", async (_, from, to) => {
      const made = makeCertificate({
        notBefore: new Date(Date.now() + from),
        notAfter: new Date(Date.now() + to),
      });
      pages[CERTIFICATE_URL] = () => new Response(made.pem);
      expect((await post("sns", new SnsSender(made).notification(s3Body("a")))).status).toBe(403);
    });

    test("because its key is short", async () => {
      const made = makeCertificate({ bits: 1024 });
      pages[CERTIFICATE_URL] = () => new Response(made.pem);
      expect((await post("sns", new SnsSender(made).notification(s3Body("a")))).status).toBe(403);
    });
  });

  test("a cached certificate is not used after its end", async () => {
    expect((await post("sns", notify())).status).toBe(200);
    nowMs = Date.now() + 2 * 86_400_000;
    const Timestamp = new Date(nowMs).toISOString();
    expect((await post("sns", notify({ Timestamp }))).status).toBe(403);
  });

  test.each([
    ["an empty object", {}],
    ["a list", []],
    ["a text", "x"],
    ["what S3 says without SNS", s3Body("a")],
    ["another type", { ...sender.notification({}), Type: "Other" }],
    ["another signature version", { ...sender.notification({}), SignatureVersion: "3" }],
    ["a signature that is no base64", { ...sender.notification({}), Signature: "%%" }],
    ["an id of two lines", { ...sender.notification({}), MessageId: "a\nb" }],
    ["a time that is none", { ...sender.notification({}), Timestamp: "yesterday" }],
    ["a confirmation without address", { ...sender.confirmation(), SubscribeURL: undefined }],
  ] as [string, unknown][])("%s is no message of SNS", async (_, body) => {
    expect(await post("sns", JSON.stringify(body))).toMatchObject({ status: 400, code: "bad_event" });
    expect(fetched).toEqual([]);
  });

  test.each(["hello", "{}", "[1]"])("rejects a signed message with the content %j", async (Message) => {
    const message = sender.signed({ Type: "Notification", Message });
    expect(await post("sns", message)).toMatchObject({ status: 400, code: "bad_event" });
  });

  test("gives 404 when it is not configured", async () => {
    expect((await post("sns", notify(), {}, {})).status).toBe(404);
    expect(fetched).toEqual([]);
  });
});
