import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A fake S3 server for reading a public bucket: objects by range, and listings in pages. */
export interface BucketServer {
  endpoint: string;
  objects: Map<string, Uint8Array>;
  /** By prefix: called once, after the end of its next listing. */
  afterListing: Map<string, () => void>;
  close(): Promise<void>;
}

const PAGE = 10;

export async function openBucketServer(): Promise<BucketServer> {
  const objects = new Map<string, Uint8Array>();
  const bucket = { objects, afterListing: new Map() } as unknown as BucketServer;
  const server = createServer((request, response) => {
    const url = new URL(request.url!, "http://bucket");
    const [, , ...rest] = url.pathname.split("/");
    if (url.searchParams.get("list-type") === "2") return list(bucket, url.searchParams, response);
    read(objects.get(decodeURIComponent(rest.join("/"))), request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  bucket.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  bucket.close = () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return bucket;
}

function list(bucket: BucketServer, query: URLSearchParams, response: ServerResponse): void {
  const prefix = query.get("prefix") ?? "";
  const keys = [...bucket.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  const from = Number(query.get("continuation-token") ?? 0);
  const page = bucket.objects.size > 1000 ? 1000 : PAGE;
  const contents = keys.slice(from, from + page).map((key) => {
    const bytes = bucket.objects.get(key)!;
    const encoded = encodeURIComponent(key).replaceAll("%20", "+").replaceAll("%2F", "/");
    return `<Contents><Key>${encoded}</Key><ETag>&quot;${md5(bytes)}&quot;</ETag><Size>${bytes.length}</Size></Contents>`;
  });
  const more = from + page < keys.length;
  const next = more ? `<NextContinuationToken>${from + page}</NextContinuationToken>` : "";
  response.writeHead(200, { "Content-Type": "application/xml" });
  response.end(
    `<?xml version="1.0"?><ListBucketResult><EncodingType>url</EncodingType><IsTruncated>${more}</IsTruncated>${contents.join("")}${next}</ListBucketResult>`,
  );
  if (more) return;
  const after = bucket.afterListing.get(prefix);
  bucket.afterListing.delete(prefix);
  after?.();
}

function read(bytes: Uint8Array | undefined, request: IncomingMessage, response: ServerResponse): void {
  if (!bytes) return void response.writeHead(404).end();
  const etag = `"${md5(bytes)}"`;
  const wanted = request.headers["if-match"];
  if (wanted !== undefined && wanted !== etag) return void response.writeHead(412).end();
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  if (first === undefined) return void response.writeHead(200, { ETag: etag }).end(bytes);
  const part = bytes.subarray(Number(first), Number(last) + 1);
  const range = `bytes ${first}-${Number(first) + part.length - 1}/${bytes.length}`;
  response.writeHead(206, { ETag: etag, "Content-Range": range }).end(part);
}

const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest("hex");
