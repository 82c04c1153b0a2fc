import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const MIB = 2 ** 20;
export const JOB = "0123456789abcdef0123456789abcdef";

interface Upload {
  id: string;
  byteLength: number;
  request: unknown;
  parts: Map<number, Buffer>;
  complete: boolean;
}

/** What a request gets instead of its response. "drop" closes the connection; a number is a status. */
export type Fault = "drop" | "drop after body" | number | undefined;

/** An in-memory job service that misbehaves on demand. Real Workers do not drop connections on demand. */
export class FlakyService {
  readonly partBytes = MIB;
  readonly uploads = new Map<string, Upload>();
  /** "METHOD path" of every request, in order. */
  readonly requests: string[] = [];
  readonly headers: IncomingMessage["headers"][] = [];
  /** Decides on the `nth` request (from 1) of that kind, such as "PUT part". */
  fault: (kind: string, nth: number) => Fault = () => undefined;
  retryAfter = "0";
  /** States that the job goes through; the last one stays. */
  states: object[] = [{ state: "done", windows: { total: 9, done: 9 } }];
  /** Number of statuses that a stream of events sends before it breaks; 0: the route does not exist. */
  eventsAtATime = 0;
  files = new Map<string, Buffer>([["run.json", Buffer.from('{"outputs":[]}')]]);
  /** Replaces the true ones. */
  hashes = new Map<string, string>();
  /** Breaks a download after so many bytes, once per file. */
  breakAfter: number | undefined;

  #server: Server;
  #told = 0;
  #counts = new Map<string, number>();
  #broken = new Set<string>();

  constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error) => response.destroy(error));
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  count(kind: string): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** The scan as received. */
  scan(): Buffer | undefined {
    const upload = [...this.uploads.values()].find((u) => u.complete);
    if (!upload) return undefined;
    return Buffer.concat([...upload.parts].sort(([a], [b]) => a - b).map(([, bytes]) => bytes));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url } = request;
    const [, , area, id, kind, ...rest] = new URL(url!, "http://x").pathname.split("/");
    const what = `${method} ${kind === "parts" ? "part" : (kind ?? (id ? area : `new ${area}`))}`;
    this.requests.push(`${method} ${url}`);
    this.headers.push(request.headers);
    const nth = this.count(what) + 1;
    this.#counts.set(what, nth);
    const fault = this.fault(what, nth);
    if (fault === "drop") return void request.socket.destroy();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    if (fault === "drop after body") return void request.socket.destroy();
    if (fault !== undefined) this.#problem(response, fault, `this is a ${fault}`);
    else if (area === "uploads") this.#upload(response, what, id!, rest[0], body);
    else if (what === "GET jobs") this.#json(response, this.#status());
    else if (what === "DELETE jobs") this.#json(response, {});
    else if (what === "DELETE data") response.writeHead(204).end();
    else if (what === "GET events" && this.eventsAtATime > 0) this.#events(response);
    else if (what === "GET outputs" && rest.length === 0) this.#list(response);
    else if (what === "GET outputs") this.#file(request, response, decodeURIComponent(rest.join("/")));
    else this.#problem(response, 404, "there is nothing here");
  }

  #upload(response: ServerResponse, what: string, id: string, part: string | undefined, body: Buffer): void {
    if (what === "POST new uploads") {
      const { byteLength, request } = JSON.parse(body.toString());
      const upload = {
        id: randomBytes(16).toString("hex"),
        byteLength,
        request,
        parts: new Map(),
        complete: false,
      };
      this.uploads.set(upload.id, upload);
      this.#json(response, this.#describe(upload));
      return;
    }
    const upload = this.uploads.get(id);
    if (!upload) this.#problem(response, 404, "there is no such upload");
    else if (what === "PUT part") {
      upload.parts.set(Number(part), body);
      this.#json(response, { n: Number(part), etag: "x" });
    } else if (what === "POST complete") {
      if (upload.parts.size < this.#describe(upload).parts) {
        this.#problem(response, 409, "parts are missing", "parts_missing");
        return;
      }
      upload.complete = true;
      this.#json(response, { source: "r2://scans/x", etag: "x", byteLength: upload.byteLength });
    } else if (what === "DELETE uploads") {
      this.uploads.delete(id);
      response.writeHead(204).end();
    } else this.#json(response, this.#describe(upload));
  }

  #describe({ id, byteLength, parts, complete }: Upload) {
    return {
      id,
      state: complete ? "complete" : "open",
      byteLength,
      partBytes: this.partBytes,
      parts: Math.ceil(byteLength / this.partBytes),
      done: [...parts.keys()],
      job: complete ? JOB : undefined,
    };
  }

  #status(): object {
    const state = this.states[Math.min(this.#told++, this.states.length - 1)]!;
    const at = new Date(0).toISOString();
    const outputs = [...this.files]
      .filter(([name]) => !name.includes("/") && name !== "run.json")
      .map(([name, bytes]) => ({
        name,
        byteLength: bytes.length,
        sha256: this.hashes.get(name) ?? createHash("sha256").update(bytes).digest("hex"),
      }));
    return {
      id: JOB,
      source: { uri: "r2://scans/x", etag: "x", byteLength: 1 },
      model: { name: "nuclei" },
      createdAt: at,
      updatedAt: at,
      outputs,
      ...state,
    };
  }

  #events(response: ServerResponse): void {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(": hello\n\n");
    for (let i = 0; i < this.eventsAtATime; i++) {
      response.write(`event: status\ndata: ${JSON.stringify(this.#status())}\n\n`);
    }
    setTimeout(() => response.destroy(), 50);
  }

  #list(response: ServerResponse): void {
    const files = [...this.files].map(([name, bytes]) => ({
      name,
      byteLength: bytes.length,
      etag: etagOf(bytes),
    }));
    this.#json(response, { files });
  }

  #file(request: IncomingMessage, response: ServerResponse, name: string): void {
    const bytes = this.files.get(name);
    if (!bytes) {
      this.#problem(response, 404, "there is no such file");
      return;
    }
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const part = bytes.subarray(start);
    response.writeHead(request.headers.range ? 206 : 200, {
      "Content-Length": part.length,
      ETag: `"${etagOf(bytes)}"`,
    });
    if (this.breakAfter === undefined || this.#broken.has(name) || part.length <= this.breakAfter) {
      response.end(part);
      return;
    }
    this.#broken.add(name);
    response.write(part.subarray(0, this.breakAfter), () => setTimeout(() => response.destroy(), 20));
  }

  #json(response: ServerResponse, body: object): void {
    response.setHeader("Content-Type", "application/json").end(JSON.stringify(body));
  }

  #problem(response: ServerResponse, status: number, message: string, code = "some_code"): void {
    response.setHeader("Retry-After", this.retryAfter);
    if (status >= 300 && status < 400) response.setHeader("Location", "http://elsewhere.example/");
    response.statusCode = status;
    this.#json(response, { error: { code, message } });
  }
}

function etagOf(bytes: Buffer): string {
  return createHash("md5").update(bytes).digest("hex");
}
