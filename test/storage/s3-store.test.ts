import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { StorageError } from "../../src/storage/errors.ts";
import { S3Store } from "../../src/storage/s3-store.ts";

// What S3Store does with a server is tested in test/s3. Here is what needs none, and answers of AWS that no server
// we can run gives on demand: Swift, the one in test/s3, has no conditional writes and is never too busy.

const storeAt = (endpoint: string) =>
  new S3Store("bucket", {
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
  });

test("an unreachable server is retryable, and the message says what to check", async () => {
  const error = await storeAt("http://127.0.0.1:9")
    .get("a")
    .catch((e) => e);
  expect(error).toBeInstanceOf(StorageError);
  expect(error.retryable).toBe(true);
  expect(error.message).toBe(
    "cannot reach the S3 server for s3://bucket/a (ECONNREFUSED); check AWS_ENDPOINT_URL and the network",
  );
});

describe("responses of the S3 API reference", () => {
  let status: number;
  let code: string;
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(status, { "Content-Type": "application/xml" });
    response.end(`<Error><Code>${code}</Code><Message>What AWS says.</Message></Error>`);
  });
  beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const store = () => storeAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const putIfAbsent = () => store().put("a", Uint8Array.of(1), { ifNoneMatch: "*" });

  test("412: the key exists already", async () => {
    [status, code] = [412, "PreconditionFailed"];
    expect(await putIfAbsent()).toBe(false);
  });

  // "If a conflicting operation occurs during the upload S3 returns a 409 ConditionalRequestConflict response. On a
  // 409 failure you should retry": the other one may have been a delete, so the key may well be absent.
  test("409: the outcome is unknown, and the call is retryable", async () => {
    [status, code] = [409, "ConditionalRequestConflict"];
    const error = await putIfAbsent().catch((e) => e);
    expect(error).toBeInstanceOf(StorageError);
    expect(error.retryable).toBe(true);
    expect(error.message).toBe(
      "the S3 server answers 409 for s3://bucket/a (ConditionalRequestConflict: What AWS says.); try again later",
    );
  });

  test("503: too many requests, retryable", async () => {
    [status, code] = [503, "SlowDown"];
    const error = await store()
      .head("a")
      .catch((e) => e);
    expect(error).toBeInstanceOf(StorageError);
    expect(error.retryable).toBe(true);
    expect(error.message).not.toContain("\n");
  });
});
