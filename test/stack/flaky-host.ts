import { readFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Fault = "fails" | "hangs" | "breaks off";

/** A web server with one file under every name; it serves ranges, with faults on request. */
export interface FlakyHost {
  host: string;
  /** Faulty responses since the last reset. */
  failures: number;
  /** Ends the faults, and sets the kind of the next ones. */
  reset(fault: Fault): void;
  /** Starts faults for the next requests. */
  fail(requests: number): void;
  close(): Promise<void>;
}

export async function openFlakyHost(file: string): Promise<FlakyHost> {
  const bytes = readFileSync(file);
  let fault: Fault = "fails";
  let left = 0;
  const host = { failures: 0 } as FlakyHost;
  const server = createServer((request, response) => {
    const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const from = match ? Number(match[1]) : 0;
    const to = match ? Math.min(Number(match[2]), bytes.length - 1) : bytes.length - 1;
    const part = bytes.subarray(from, to + 1);
    const headers = {
      ETag: '"one"',
      "Content-Length": part.length,
      ...(match ? { "Content-Range": `bytes ${from}-${to}/${bytes.length}` } : {}),
    };
    if (left > 0 && part.length > 1) {
      left--;
      host.failures++;
      return misbehave(fault, response, headers, part);
    }
    response.writeHead(match ? 206 : 200, headers).end(part);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(host, {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    reset(next: Fault) {
      fault = next;
      left = 0;
      host.failures = 0;
    },
    fail(requests: number) {
      left = requests;
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  });
}

function misbehave(
  fault: Fault,
  response: ServerResponse,
  headers: Record<string, string | number>,
  part: Uint8Array,
): void {
  if (fault === "hangs") return;
  if (fault === "fails") return void response.writeHead(500).end("internal");
  response.writeHead(206, headers);
  response.write(part.subarray(0, part.length >> 1), () => response.destroy());
}
