import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { S3Store } from "../../src/storage/s3-store.ts";

/**
 * As much of an S3 server as `S3Store` asks for, over real HTTP, so that the SDK's own parsing is in the test.
 * Buckets exist once named. Bucket "denied" answers 403, "no-conditions" 501 to conditional writes (as Swift does).
 */
export async function startS3Stub() {
  const buckets = new Map<string, Map<string, Uint8Array>>();
  const etagOf = (body: Uint8Array) => `"${createHash("md5").update(body).digest("hex")}"`;

  const server = createServer(async (request, response) => {
    const url = new URL(request.url!, "http://stub");
    const [bucket, ...rest] = url.pathname.slice(1).split("/").map(decodeURIComponent);
    const key = rest.join("/");
    const objects = buckets.get(bucket!) ?? new Map<string, Uint8Array>();
    buckets.set(bucket!, objects);
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const fail = (status: number, code: string) => {
      response.writeHead(status, { "Content-Type": "application/xml" });
      response.end(
        request.method === "HEAD"
          ? undefined
          : `<Error><Code>${code}</Code><Message>${code}</Message></Error>`,
      );
    };

    if (bucket === "denied") return fail(403, "AccessDenied");
    if (request.method === "PUT") {
      if (request.headers["if-none-match"] === "*") {
        if (bucket === "no-conditions") return fail(501, "NotImplemented");
        if (objects.has(key)) return fail(412, "PreconditionFailed");
      }
      const body = Buffer.concat(chunks);
      objects.set(key, body);
      return response.writeHead(200, { ETag: etagOf(body) }).end();
    }
    if (url.searchParams.get("list-type") === "2") {
      const prefix = url.searchParams.get("prefix") ?? "";
      const after = url.searchParams.get("continuation-token") ?? "";
      const found = [...objects.keys()].filter((k) => k.startsWith(prefix) && k > after).sort();
      const page = found.slice(0, 10);
      const more = found.length > page.length;
      const contents = page.map((k) => `<Contents><Key>${escapeXml(k)}</Key></Contents>`).join("");
      const token = more ? `<NextContinuationToken>${escapeXml(page.at(-1)!)}</NextContinuationToken>` : "";
      response.writeHead(200, { "Content-Type": "application/xml" });
      return response.end(
        `<ListBucketResult><IsTruncated>${more}</IsTruncated>${token}${contents}</ListBucketResult>`,
      );
    }
    const body = objects.get(key);
    if (body === undefined) return fail(404, "NoSuchKey");
    const headers = { ETag: etagOf(body), "Accept-Ranges": "bytes" };
    if (request.headers["if-match"] && request.headers["if-match"] !== headers.ETag) {
      return fail(412, "PreconditionFailed");
    }
    const range = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? "");
    if (!range) {
      response.writeHead(200, { ...headers, "Content-Length": body.length });
      return response.end(request.method === "HEAD" ? undefined : body);
    }
    const start = range[1] === "" ? Math.max(0, body.length - Number(range[2])) : Number(range[1]);
    if (start >= body.length) return fail(416, "InvalidRange");
    const end =
      range[1] === "" || range[2] === "" ? body.length : Math.min(Number(range[2]) + 1, body.length);
    response.writeHead(206, { ...headers, "Content-Range": `bytes ${start}-${end - 1}/${body.length}` });
    response.end(body.subarray(start, end));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    endpoint,
    store: (bucket: string, prefix?: string) =>
      new S3Store(bucket, {
        prefix,
        endpoint,
        region: "us-east-1",
        credentials: { accessKeyId: "stub", secretAccessKey: "stub" },
      }),
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function escapeXml(text: string): string {
  return text.replace(/[<>&]/g, (c) => `&#${c.charCodeAt(0)};`);
}
