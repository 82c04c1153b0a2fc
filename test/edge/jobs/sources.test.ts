import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { openSourceStore, type SourceBindings } from "../../../src/edge/sources/open-source-store.ts";
import { HttpError } from "../../../src/service/http-error.ts";
import { StorageError } from "../../../src/storage/errors.ts";

const SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const SOURCES = [
  { kind: "http", host: "slides.example.org" },
  { kind: "http", host: "data.example.org:8443" },
  { kind: "s3", bucket: "slides", endpoint: "https://s3.eu-central-1.amazonaws.com", region: "eu-central-1" },
  { kind: "s3", bucket: "open-data", endpoint: "https://s3.amazonaws.com/" },
];
const SOURCE_KEYS = { slides: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: SECRET } };

/** A stub that shows which bucket is opened; tests in workerd use R2 itself. */
const bucketThatIs = (name: string) =>
  ({
    get: () => {},
    head: async () => ({ size: 1, etag: name }),
  }) as unknown as SourceBindings["SCANS"];

const environment = (sources: unknown = SOURCES, keys: unknown = SOURCE_KEYS): SourceBindings => ({
  SCANS: bucketThatIs("scans"),
  SCANS_BUCKET: "scans",
  RESULTS_BUCKET: "results-bucket",
  SOURCES: JSON.stringify(sources),
  SOURCE_KEYS: JSON.stringify(keys),
});

interface Asked {
  url: string;
  headers: Headers;
  redirect: string | undefined;
}

/** A `fetch` that records requests and sends none. */
function spy(answer: (url: string) => Response = () => found()) {
  const asked: Asked[] = [];
  const fetch = (async (input: string | URL, init?: RequestInit) => {
    asked.push({ url: String(input), headers: new Headers(init?.headers), redirect: init?.redirect });
    return answer(String(input));
  }) as typeof globalThis.fetch;
  return { fetch, asked };
}

const found = () =>
  new Response("x", { status: 206, headers: { "Content-Range": "bytes 0-0/7", ETag: '"e"' } });

async function expectHttpError(call: () => unknown): Promise<HttpError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof HttpError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

beforeEach(() => void vi.spyOn(console, "error").mockImplementation(() => {}));
afterEach(() => void vi.restoreAllMocks());

describe("configured sources are read", () => {
  test.each([
    ["https://slides.example.org/a/b.svs", "https://slides.example.org/a/b.svs", "b.svs", "b.svs"],
    [
      "HTTPS://SLIDES.example.org:443/a%20b.svs",
      "https://slides.example.org/a%20b.svs",
      "a b.svs",
      "a b.svs",
    ],
    ["https://data.example.org:8443/x.zarr/", "https://data.example.org:8443/x.zarr", "x.zarr", "x.zarr"],
    [
      "s3://open-data/a/ö #?%.svs",
      "https://s3.amazonaws.com/open-data/a/%C3%B6%20%23%3F%25.svs",
      "a/ö #?%.svs",
      "ö #?%.svs",
    ],
  ])("%s", async (uri, url, key, name) => {
    const { fetch, asked } = spy();
    const source = openSourceStore(environment(), uri, { fetch });
    expect(source).toMatchObject({ key, name });
    expect(asked).toEqual([]);
    expect(await source.store.head(key)).toEqual({ byteLength: 7, etag: '"e"' });
    expect(asked.map((a) => a.url)).toEqual([url]);
    expect(asked[0]!.headers.has("Authorization")).toBe(false);
    expect(openSourceStore(environment(), source.uri, { fetch }).uri).toBe(source.uri);
  });

  test("requests to a bucket with keys sign host and date only", async () => {
    const headersOfRange = { ETag: '"e"', "Content-Range": "bytes 2-4/10" };
    const { fetch, asked } = spy(() => new Response("234", { status: 206, headers: headersOfRange }));
    const { store, key } = openSourceStore(environment(), "s3://slides/a/b c.svs", { fetch });
    await store.getRange(key, 2, 3, { ifMatch: '"e"' });
    const { url, headers, redirect } = asked[0]!;
    expect(url).toBe("https://s3.eu-central-1.amazonaws.com/slides/a/b%20c.svs");
    expect(redirect).toBe("manual");
    expect(headers.get("Range")).toBe("bytes=2-4");
    expect(headers.get("If-Match")).toBe('"e"');
    expect(headers.get("Authorization")).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-central-1\/s3\/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=[0-9a-f]{64}$/,
    );
    expect(JSON.stringify([...headers])).not.toContain(SECRET);
  });

  test("reads the bucket of scans by its binding, which no other address reaches", async () => {
    const { fetch, asked } = spy();
    const source = openSourceStore(environment(), "r2://scans/a/b?c#d.svs", { fetch });
    expect(source).toMatchObject({ key: "a/b?c#d.svs", name: "b?c#d.svs", uri: "r2://scans/a/b?c#d.svs" });
    expect((await source.store.head(source.key))?.etag).toBe("scans");
    expect(asked).toEqual([]);
  });

  test("the signature of a presigned URL is sent and not shown", async () => {
    const { fetch, asked } = spy(() => new Response("", { status: 403 }));
    const uri = "https://slides.example.org/a.svs?X-Amz-Signature=5ec2e7";
    const source = openSourceStore(environment(), uri, { fetch });
    expect(source.uri).toBe("https://slides.example.org/a.svs");
    const error = await source.store.head(source.key).catch((e: Error) => e);
    expect(asked[0]!.url).toBe(uri);
    expect(error).toBeInstanceOf(StorageError);
    expect((error as Error).message).not.toContain("5ec2e7");
  });
});

describe("other sources are rejected", () => {
  test.each([
    "",
    "a.svs",
    "/etc/passwd",
    "file:///etc/passwd",
    "ftp://slides.example.org/a.svs",
    "data:text/plain,hello",
    "javascript://slides.example.org/%0aalert(1)",
    "r2://results-bucket/results/1/run.json",
    "r2://models/nuclei/model.json",
    "r2://scans",
    "r2://scans/",
    "r2:///a.svs",
    "r2://scans/../models/model.json",
    "r2://scans/a//b.svs",
    "r2://scans/a/./b.svs",
    "r2://scans/a\nb.svs",
    `r2://scans/${"a".repeat(1025)}`,
    "s3://scans/a.svs",
    "s3://SLIDES/a.svs",
    "s3://slides",
    "s3://slides/../open-data/a.svs",
    "s3://slides@evil.example/a.svs",
    "s3://slides:80/a.svs",
    "s3://__proto__/a.svs",
    "s3://constructor/a.svs",
    "http://slides.example.org/a.svs",
    "https://slides.example.org",
    "https://slides.example.org/",
    "https://slides.example.org:8443/a.svs",
    "https://data.example.org/a.svs",
    "https://slides.example.org./a.svs",
    "https://a.slides.example.org/a.svs",
    "https://slides.example.org.evil.example/a.svs",
    "https://slides.example.org@evil.example/a.svs",
    "https://slides.example.org%2f@evil.example/a.svs",
    "https://user@slides.example.org/a.svs",
    "https://user:password@slides.example.org/a.svs",
    "https://evil.example/slides.example.org/a.svs",
    "https://evil.example#slides.example.org/a.svs",
    "https://evil.example\\@slides.example.org/a.svs",
    "https://slides.example.org/a%2fb.svs",
    "https://slides.example.org/..%2fb.svs",
    "https://slides.example.org/a%00.svs",
    "https://127.0.0.1/a.svs",
    "https://[::1]/a.svs",
    "https://169.254.169.254/latest/meta-data",
    "https://2852039166/latest/meta-data",
    "https://[::ffff:a9fe:a9fe]/latest/meta-data",
    "https://localhost/a.svs",
    "https://",
    "https://[/a.svs",
    `https://slides.example.org/${"a".repeat(2048)}`,
  ])("%s", async (uri) => {
    const { fetch, asked } = spy();
    for (const env of [environment(), { SCANS: bucketThatIs("scans"), SCANS_BUCKET: "scans" }]) {
      const problem = await expectHttpError(() => openSourceStore(env, uri, { fetch }));
      expect(problem).toMatchObject({ status: 422, code: "source_refused" });
      expect(problem.message).not.toMatch(/\n|password/);
    }
    expect(asked).toEqual([]);
  });

  test("rejects results in the bucket of scans", async () => {
    const env = { ...environment(), RESULTS_BUCKET: "scans" };
    for (const key of ["results/1/run.json", "work/1/plan.json"]) {
      expect((await expectHttpError(() => openSourceStore(env, `r2://scans/${key}`))).code).toBe(
        "source_refused",
      );
    }
    expect(openSourceStore(env, "r2://scans/a.svs").key).toBe("a.svs");
  });

  test("reports a missing bucket of scans", async () => {
    for (const env of [{}, { SCANS_BUCKET: "scans" }, { SCANS: bucketThatIs("scans") }]) {
      expect((await expectHttpError(() => openSourceStore(env, "r2://scans/a"))).status).toBe(503);
    }
  });
});

describe("never fetches an address outside the configuration", () => {
  const allowed = new Set(["https://slides.example.org", "https://data.example.org:8443"]);
  const buckets = ["https://s3.eu-central-1.amazonaws.com/slides/", "https://s3.amazonaws.com/open-data/"];
  const isAllowed = (url: string) =>
    allowed.has(new URL(url).origin) ||
    buckets.some((base) => url.startsWith(base) && new URL(url).href === url);

  const host = fc.oneof(
    fc.constantFrom(
      "slides.example.org",
      "data.example.org:8443",
      "slides.example.org:8443",
      "evil.example",
      "localhost:9000",
      "slides",
      "open-data",
      "s3.amazonaws.com",
      "scans",
      "models",
    ),
    fc.ipV4(),
    fc.ipV4Extended(),
    fc.ipV6().map((address) => `[${address}]`),
    fc.domain(),
  );
  const part = fc.oneof(
    fc.constantFrom(
      "..",
      ".",
      "%2e%2e",
      "%2F",
      "a.svs",
      "",
      "@evil.example",
      "\\",
      "\t",
      "?x=1",
      "#y",
      ":80",
      "//",
    ),
    fc.string({ unit: "grapheme", maxLength: 12 }),
  );
  const userinfo = fc.constantFrom("", "", "", "a@", "a:b@", "slides.example.org@", "slides.example.org\\@");
  const scheme = fc.constantFrom("https", "http", "s3", "r2", "HTTPS", "ftp", "file", "S3");
  const separator = fc.constantFrom("://", "://", "://", ":/", ":", ":\\\\", ":///");
  const likely = fc
    .tuple(
      fc.constantFrom("https://", "s3://", "HTTPS://", "http://"),
      fc.constantFrom("slides.example.org", "data.example.org:8443", "slides", "open-data"),
      fc.array(part, { minLength: 1, maxLength: 3 }),
    )
    .map(([s, h, parts]) => `${s}${h}/${parts.join("/")}`);
  const uri = fc.oneof(
    likely,
    fc
      .tuple(scheme, separator, userinfo, host, fc.array(part, { maxLength: 4 }))
      .map(([s, colon, user, h, parts]) => `${s}${colon}${user}${h}/${parts.join("/")}`),
    fc.webUrl({ withQueryParameters: true, withFragments: true, validSchemes: ["http", "https"] }),
    fc.string(),
  );

  const read = async (address: string, fetch: typeof globalThis.fetch) => {
    let source: ReturnType<typeof openSourceStore>;
    try {
      source = openSourceStore(environment(), address, { fetch });
    } catch (error) {
      expect(error).toMatchObject({ status: 422, code: "source_refused" });
      return;
    }
    await source.store.head(source.key).catch((error: unknown) => {
      if (!(error instanceof HttpError || error instanceof StorageError)) throw error;
    });
  };

  test("for any address", async () => {
    let fetched = 0;
    await fc.assert(
      fc.asyncProperty(uri, async (address) => {
        const { fetch, asked } = spy();
        await read(address, fetch);
        for (const { url, headers } of asked) {
          fetched++;
          expect(isAllowed(url), url).toBe(true);
          if (!url.startsWith(buckets[0]!)) expect(headers.has("Authorization")).toBe(false);
        }
      }),
      { numRuns: 3000 },
    );
    expect(fetched).toBeGreaterThan(50);
  });

  test("for any redirect", async () => {
    const start = fc.constantFrom(
      "https://slides.example.org/a.svs",
      "s3://slides/a.svs",
      "s3://open-data/a.svs",
    );
    const status = fc.constantFrom(301, 302, 303, 307, 308);
    let followed = 0;
    await fc.assert(
      fc.asyncProperty(
        start,
        fc.array(fc.tuple(status, uri), { minLength: 1, maxLength: 6 }),
        async (from, hops) => {
          let hop = 0;
          const { fetch, asked } = spy(() => {
            const next = hops[hop++];
            // Headers hold bytes only.
            return next && /^[\x20-\x7e]*$/.test(next[1])
              ? new Response("", { status: next[0], headers: { Location: next[1] } })
              : found();
          });
          await read(from, fetch);
          expect(asked.length).toBeLessThanOrEqual(4);
          followed += asked.length - 1;
          for (const { url, headers } of asked) {
            expect(isAllowed(url), url).toBe(true);
            if (!url.startsWith(buckets[0]!)) expect(headers.has("Authorization")).toBe(false);
          }
          if (from.startsWith("s3:")) expect(asked.length).toBe(1);
        },
      ),
      { numRuns: 1000 },
    );
    expect(followed).toBeGreaterThan(50);
  });
});

describe("a server over real HTTP", () => {
  let server: Server;
  let elsewhere: Server;
  let requests: IncomingMessage[];
  let strayed: number;
  let answer: (request: IncomingMessage, response: ServerResponse) => void;

  const listen = async (listener: (request: IncomingMessage, response: ServerResponse) => void) => {
    const started = createServer(listener);
    await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
    return started;
  };
  const hostOf = (s: Server) => `127.0.0.1:${(s.address() as AddressInfo).port}`;
  const content = new TextEncoder().encode("0123456789");
  const ranged = (request: IncomingMessage, response: ServerResponse) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")!;
    response.writeHead(206, { ETag: '"one"', "Content-Range": `bytes ${from}-${to}/${content.length}` });
    response.end(content.subarray(Number(from), Number(to) + 1));
  };
  const redirect =
    (location: string, status = 302) =>
    (_: IncomingMessage, response: ServerResponse) =>
      response.writeHead(status, { Location: location }).end("moved");

  beforeAll(async () => {
    server = await listen((request, response) => {
      requests.push(request);
      answer(request, response);
    });
    elsewhere = await listen((_, response) => {
      strayed++;
      response.end("secret");
    });
  });
  afterAll(() => {
    for (const s of [server, elsewhere]) {
      s.closeAllConnections();
      s.close();
    }
  });
  beforeEach(() => {
    requests = [];
    strayed = 0;
  });

  const open = (path: string) =>
    openSourceStore(environment([{ kind: "http", host: hostOf(server) }]), `http://${hostOf(server)}${path}`);
  const openBucket = () =>
    openSourceStore(
      environment([{ kind: "s3", bucket: "slides", endpoint: `http://${hostOf(server)}/base/` }]),
      "s3://slides/a b.svs",
    );

  test("is read by ranges", async () => {
    answer = ranged;
    const { store, key } = open("/a%20b.svs");
    expect(await store.head(key)).toEqual({ byteLength: 10, etag: '"one"' });
    expect(new TextDecoder().decode(await store.getRange(key, 3, 4, { ifMatch: '"one"' }))).toBe("3456");
    expect(requests[1]!.url).toBe("/a%20b.svs");
  });

  test("may redirect to allowed hosts, three times", async () => {
    const { store, key } = open("/0");
    const chain = (last: number) => (request: IncomingMessage, response: ServerResponse) => {
      const n = Number(request.url!.slice(1));
      if (n === last) ranged(request, response);
      else redirect(`/${n + 1}`, [301, 302, 307, 308][n])(request, response);
    };
    answer = chain(3);
    expect(new TextDecoder().decode(await store.getRange(key, 0, 2))).toBe("01");
    expect(requests.map((r) => [r.url, r.headers.range])).toEqual([
      ["/0", "bytes=0-1"],
      ["/1", "bytes=0-1"],
      ["/2", "bytes=0-1"],
      ["/3", "bytes=0-1"],
    ]);
    answer = chain(4);
    expect(await expectHttpError(() => store.getRange(key, 0, 2))).toMatchObject({
      status: 422,
      code: "source_refused",
      message: "the source redirects more than 3 times",
    });
    expect(requests).toHaveLength(8);
  });

  test("may not redirect to another host, and gets one request", async () => {
    for (const target of [
      `http://${hostOf(elsewhere)}/`,
      `//${hostOf(elsewhere)}/`,
      `http://user:pass@${hostOf(server)}/`,
      "http://169.254.169.254/latest/meta-data",
      "file:///etc/passwd",
      "http://[",
    ]) {
      requests = [];
      answer = redirect(target);
      const { store, key } = open("/a.svs");
      const problem = await expectHttpError(() => store.head(key));
      expect(problem).toMatchObject({ status: 422, code: "source_refused" });
      expect(problem.message).not.toContain(hostOf(elsewhere));
      expect(requests).toHaveLength(1);
    }
    expect(strayed).toBe(0);
  });

  test("on this machine is not reached by redirects of others", async () => {
    const target = `http://${hostOf(server)}/a.svs`;
    const env = environment([...SOURCES, { kind: "http", host: hostOf(server) }]);
    const { fetch, asked } = spy(() => new Response("", { status: 302, headers: { Location: target } }));
    const { store, key } = openSourceStore(env, "https://slides.example.org/a.svs", { fetch });
    expect((await expectHttpError(() => store.head(key))).code).toBe("source_refused");
    expect(asked).toHaveLength(1);
  });

  test("is retried after a transient failure", async () => {
    answer = (request, response) =>
      requests.length < 2 ? response.writeHead(503).end() : ranged(request, response);
    const { store, key } = open("/a.svs");
    expect((await store.head(key))?.byteLength).toBe(10);
    expect(requests).toHaveLength(2);
  });

  test("of S3 gets signed requests below its own path", async () => {
    answer = ranged;
    const { store, key } = openBucket();
    expect((await store.head(key))?.byteLength).toBe(10);
    expect(requests[0]!.url).toBe("/base/slides/a%20b.svs");
    expect(requests[0]!.headers.authorization).toContain("AKIDEXAMPLE");
  });

  test("of S3 may not redirect, so keys never leave it", async () => {
    for (const target of [`http://${hostOf(elsewhere)}/`, "/other"]) {
      requests = [];
      answer = redirect(target, 307);
      const { store, key } = openBucket();
      await expect(store.head(key)).rejects.toThrow(
        "the endpoint of bucket slides responds 307, as for a bucket of another region; check its endpoint and region in SOURCES",
      );
      expect(requests).toHaveLength(1);
    }
    expect(strayed).toBe(0);
  });

  test("of S3 that denies access differs from one that is down, and errors contain no keys", async () => {
    answer = (_, response) => response.writeHead(403).end(`<Error>${SECRET}</Error>`);
    const { store, key } = openBucket();
    const error = (await store.get(key).catch((e: Error) => e)) as StorageError;
    expect(error).toBeInstanceOf(StorageError);
    expect(error.retryable).toBe(false);
    expect(error.message).toContain("SOURCE_KEYS");
    expect(error.message).not.toMatch(/AKID|K7MDENG|Signature/);
    expect(requests).toHaveLength(1);

    const open = { kind: "s3", bucket: "slides", endpoint: `http://${hostOf(server)}` };
    const unsigned = openSourceStore(environment([open], {}), "s3://slides/a.svs");
    await expect(unsigned.store.get("a.svs")).rejects.toThrow("bucket slides is not public");
    expect(requests[1]!.headers.authorization).toBeUndefined();
  });
});

describe("an invalid configuration is rejected without revealing secrets", () => {
  const http = (host: string) => [{ kind: "http", host }];
  const s3 = (over: object) => [{ kind: "s3", bucket: "a", endpoint: "https://s3.example.org", ...over }];
  const logged = () => JSON.stringify(vi.mocked(console.error).mock.calls);

  const WRONG: unknown[] = [
    {},
    "x",
    [{ kind: "ftp", host: "a.example" }],
    http(""),
    http("a.example/path"),
    http("https://a.example"),
    http("user@a.example"),
    http("a.example?x"),
    http("*.example.org"),
    http("a.example:99999"),
    http("localhost"),
    http("127.0.0.1"),
    http("[::1]"),
    http("10.0.0.1"),
    http("10.0.0.1:9000"),
    http("0x0a000001:9000"),
    http("169.254.169.254"),
    http("[fd00::1]:9000"),
    http("[::ffff:127.0.0.1]:9000"),
    http("metadata.google.internal"),
    s3({ endpoint: "s3.example.org" }),
    s3({ endpoint: "http://s3.example.org" }),
    s3({ endpoint: "https://user:pass@s3.example.org" }),
    s3({ endpoint: "https://s3.example.org/?x=1" }),
    s3({ endpoint: "https://169.254.169.254" }),
    s3({ endpoint: "http://192.168.0.1:9000" }),
    s3({ bucket: "../a" }),
    s3({ region: "eu central" }),
    [...s3({}), ...s3({})],
  ];
  test.each(WRONG.map((sources) => [sources]))("SOURCES %j", async (sources) => {
    const problem = await expectHttpError(() => openSourceStore(environment(sources), "s3://a/b"));
    expect(problem).toMatchObject({ status: 503, code: "not_configured" });
  });

  test.each([
    ["a list", [SECRET]],
    ["a key alone", { a: SECRET }],
    ["half a pair", { a: { secretAccessKey: SECRET } }],
    ["a pair of other names", { a: { accessKeyId: "x", secretAccessKey: SECRET, [SECRET]: 1 } }],
    ["a secret of two lines", { a: { accessKeyId: "x", secretAccessKey: `${SECRET}\n` } }],
  ])("SOURCE_KEYS of %s", async (_, keys) => {
    const problem = await expectHttpError(() => openSourceStore(environment(s3({}), keys), "s3://a/b"));
    expect(problem).toMatchObject({ status: 503, code: "not_configured" });
    expect(problem.message + logged()).not.toContain("K7MDENG");
  });
});
