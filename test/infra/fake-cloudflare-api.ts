import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

export const ACCOUNT = "0123456789abcdef0123456789abcdef";
export const API_TOKEN = "an-api-token-of-nobody";

/** Requests that change something. */
export interface Change {
  what: string;
  body: string;
}

export interface Account {
  url: string;
  changes: Change[];
  stop(): Promise<void>;
}

type Json = Record<string, unknown>;
/** A request to the API. Handlers return a result; undefined or an error number where the resource does not exist. */
interface ApiRequest {
  method: string;
  /** Path segments after the account. */
  parts: string[];
  query: URLSearchParams;
  body: string;
}

/**
 * A fake of the part of Cloudflare's API that wrangler uses here. It shows that the installed wrangler runs without a terminal,
 * that resources exist before they are used, and that a second run changes nothing. Real responses may differ.
 */
export async function startAccount(): Promise<Account> {
  const changes: Change[] = [];
  const buckets = new Set<string>();
  const queues = new Set<string>();
  const workers = new Set<string>();
  const rules: Json[] = [];

  const answers: Record<string, (request: ApiRequest) => unknown> = {
    r2: ({ method, parts: [, bucket, what], body }) => {
      if (method === "POST") return { name: added(buckets, (JSON.parse(body) as Json).name as string) };
      if (!bucket || !buckets.has(bucket)) return undefined;
      return what === undefined ? { name: bucket, creation_date: "2026-11-01", location: "weur" } : {};
    },
    queues: ({ method, parts: [, id], query, body }) => {
      if (id !== undefined) return {};
      if (method === "POST")
        return describeQueue(added(queues, (JSON.parse(body) as Json).queue_name as string));
      return [...queues].filter((name) => name === (query.get("name") ?? name)).map(describeQueue);
    },
    event_notifications: ({ method, parts: [, bucket], body }) => {
      if (method === "PUT") rules.push({ ...(JSON.parse(body) as { rules: Json[] }).rules[0], ruleId: "0" });
      if (rules.length === 0) return undefined;
      return { bucketName: bucket, queues: [{ queueId: "0", queueName: "tilewright-events", rules }] };
    },
    workflows: ({ method }) => (method === "PUT" ? {} : 10200),
    workers: ({ method, parts: [kind, name, what], body }) => {
      if (kind === "subdomain") return { subdomain: "nobody" };
      if (kind === "workers") return { subdomain: { enabled: false, previews_enabled: false }, tags: [] };
      if (what === "deployments") return { deployments: [] };
      if (what === "settings") return { bindings: [] };
      // No bucket: every file is there already.
      if (what === "assets-upload-session") return { jwt: "assets", buckets: [] };
      if (what === "secrets") return method === "GET" ? [] : {};
      if (what !== undefined) return {};
      if (method !== "PUT") return 10090;
      const elsewhere = /"script_name":"([^"]+)"/.exec(body)?.[1];
      if (elsewhere !== undefined && !workers.has(elsewhere)) return undefined;
      return { id: added(workers, name!), startup_time_ms: 1, etag: "0" };
    },
  };

  const server = createServer(async (request, response) => {
    const url = new URL(request.url!, "http://account");
    const body = await textOf(request);
    const [, root, , kind = "", ...parts] = url.pathname.split("/");
    const method = request.method!;
    let result: unknown;
    if (request.headers.authorization === `Bearer ${API_TOKEN}`) {
      if (root === "user") result = { id: "0", email: "nobody@example.org", status: "active" };
      else if (root === "accounts" && kind === "") result = [];
      else if (root === "memberships") result = [];
      else result = answers[kind]?.({ method, parts, query: url.searchParams, body });
    }
    const isThere = result !== undefined && typeof result !== "number";
    if (isThere && method !== "GET") changes.push({ what: `${method} /${[kind, ...parts].join("/")}`, body });
    const errors = isThere ? [] : [{ code: result ?? 10006, message: "there is no such thing" }];
    const page = { page: 1, per_page: 100, count: 1, total_count: 1, total_pages: 1 };
    response.writeHead(isThere ? 200 : 404, { "Content-Type": "application/json" });
    response.end(
      JSON.stringify({
        success: isThere,
        errors,
        messages: [],
        result: isThere ? result : null,
        result_info: page,
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    changes,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function describeQueue(name: string): Json {
  return { queue_id: `id-${name}`, queue_name: name, producers: [], consumers: [] };
}

function added(names: Set<string>, name: string): string {
  names.add(name);
  return name;
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  return text;
}
