import { Problem } from "./problem.ts";

/** The body, whose length must be stated and allowed before a byte of it is read. @throws {Problem} 411, 413, 415, 400 */
export async function readBody(request: Request, contentType: string, maxBytes: number): Promise<Uint8Array> {
  const type = request.headers.get("Content-Type")?.replace(/;.*/, "").trim();
  if (type !== contentType) {
    throw new Problem(415, "wrong_type", `the body must be ${contentType}, not ${type || "of no type"}`);
  }
  const stated = request.headers.get("Content-Length");
  if (stated === null || !/^\d+$/.test(stated)) {
    throw new Problem(411, "length_required", "the request must state the length of its body");
  }
  if (Number(stated) > maxBytes) {
    throw new Problem(413, "too_large", `the body has ${stated} bytes, at most ${maxBytes} are allowed`);
  }
  const bytes = new Uint8Array(await request.arrayBuffer());
  if (bytes.length !== Number(stated)) {
    throw new Problem(400, "bad_message", `the body has ${bytes.length} bytes, ${stated} were stated`);
  }
  return bytes;
}

/**
 * Reads a body of allowed length without keeping it: an answer given before its end closes the connection, which is
 * right for a caller that is refused and wrong for one that is told to come again at once.
 */
export async function discardBody(request: Request, maxBytes: number): Promise<void> {
  if (Number(request.headers.get("Content-Length") ?? Number.POSITIVE_INFINITY) > maxBytes) return;
  await request.body?.pipeTo(new WritableStream());
}
