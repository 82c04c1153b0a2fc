import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RemoteSegmenter } from "../../src/inference/remote/remote-segmenter.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import type { ModelPackage } from "../../src/model-package/load-package.ts";
import { encodeWindowBatch, WINDOW_BATCH_TYPE } from "../../src/tiling/wire/window-batch.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { post, problem } from "../service/segment-contract.ts";
import { greys, runRunner, TOKEN } from "./run-runner.ts";
import { slowed } from "./slow-segmenter.ts";

let directory: string;
let model: ModelPackage;
let large: ModelPackage;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tilewright-runner-"));
  model = await loadModel(writePointwisePackage(join(directory, "small"), { window: 32 }));
  large = await loadModel(writePointwisePackage(join(directory, "large"), { window: 128 }));
});
afterAll(() => rm(directory, { recursive: true }));

/** A connection on which we are no HTTP client but say what we like. */
async function raw(url: URL): Promise<{ socket: Socket; told(): string; closed: Promise<void> }> {
  const socket = connect({ port: Number(url.port), host: url.hostname, allowHalfOpen: true });
  let told = "";
  socket.on("data", (bytes) => {
    told += bytes.toString("latin1");
  });
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.once("end", () => socket.destroy());
  await new Promise((resolve) => socket.once("connect", resolve));
  return { socket, told: () => told, closed };
}

const head = (length: number, token = TOKEN) =>
  `POST /v1/segment HTTP/1.1\r\nHost: runner\r\nAuthorization: Bearer ${token}\r\nContent-Type: ${WINDOW_BATCH_TYPE}\r\nContent-Length: ${length}\r\n\r\n`;

/** Waits until what is looked at is as it should be. */
async function until(look: () => Promise<boolean> | boolean, patienceMs = 30_000): Promise<void> {
  const started = performance.now();
  while (!(await look())) {
    expect(performance.now() - started, "patience is at an end").toBeLessThan(patienceMs);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe("misbehaving clients", () => {
  const { device, open } = slowed();
  let running: Awaited<ReturnType<typeof runRunner>>;
  beforeAll(async () => {
    const options = { providers: ["cuda"], open, maxBatch: 1, bodySeconds: 0.4 };
    running = await runRunner(large, options);
  });
  afterAll(() => running?.runner.stop());
  const served = () => ({ url: running.url, token: TOKEN });

  /** Nothing is left of whoever was there before, and who comes is served. */
  async function itIsWell(): Promise<void> {
    await until(async () => (await running.metric("tilewright_requests")) === 0);
    expect(await running.metric("tilewright_queue_windows")).toBe(0);
    device.runMs = 0;
    expect((await post(served(), encodeWindowBatch(greys(large, 1)))).status).toBe(200);
  }

  it("a stalled body times out with an error, and its connection is closed", async () => {
    const { socket, told, closed } = await raw(running.url);
    socket.write(head(100_000));
    socket.write(new Uint8Array(10));
    await closed;
    expect(told()).toMatch(/^HTTP\/1\.1 408 /);
    expect(told()).toMatch(/^connection: close/im);
    expect(told()).toContain('"code":"body_timeout"');
    await itIsWell();
  });

  it("a body that arrives byte by byte times out as well", async () => {
    const { socket, told, closed } = await raw(running.url);
    socket.write(head(100_000));
    const drops = setInterval(() => socket.write("x"), 30);
    await closed;
    clearInterval(drops);
    expect(told()).toMatch(/^HTTP\/1\.1 408 /);
    await itIsWell();
  });

  it("an endless body behind a wrong token is not read", async () => {
    const { socket, told, closed } = await raw(running.url);
    socket.write(head(2 ** 40, "not-the-token-that-is-asked-for"));
    const chunk = new Uint8Array(65_536);
    const flood = setInterval(
      () => socket.writable && socket.writableLength < 2 ** 20 && socket.write(chunk),
      1,
    );
    await closed;
    clearInterval(flood);
    expect(told()).toMatch(/^HTTP\/1\.1 401 /);
    await itIsWell();
  });

  it.each<[string, (socket: Socket) => void]>([
    ["half-closed", (socket) => socket.end()],
    ["cut off", (socket) => socket.destroy()],
    ["reset", (socket) => socket.resetAndDestroy()],
  ])("a connection that is %s gives up its windows: those that wait are not run", async (_, leave) => {
    device.runMs = 100;
    device.runs.length = 0;
    const body = encodeWindowBatch(greys(large, 30));
    const { socket } = await raw(running.url);
    socket.write(head(body.length));
    socket.write(body);
    await until(() => device.runs.length > 0);
    leave(socket);
    await itIsWell();
    expect(device.runs.length).toBeLessThan(8);
  });

  it("a client that aborts is not waited for", async () => {
    device.runMs = 100;
    device.runs.length = 0;
    const remote = await RemoteSegmenter.connect(running.url.href, { token: TOKEN });
    const controller = new AbortController();
    const reason = new Error("enough");
    const { pixels, scaling } = greys(large, 30);
    const gone = remote.segment(pixels, { scaling, signal: controller.signal });
    gone.catch(() => {});
    await until(() => device.runs.length > 0);
    controller.abort(reason);
    await expect(gone).rejects.toBe(reason);
    await itIsWell();
    expect(device.runs.length).toBeLessThan(8);
  });

  it("a response that the client does not read is dropped after the timeout", async () => {
    const body = encodeWindowBatch({ ...greys(large, 64), precision: "f32" });
    const { socket, closed } = await raw(running.url);
    socket.pause();
    socket.write(head(body.length));
    socket.write(body);
    await until(async () => (await running.metric("tilewright_requests")) === 1);
    await itIsWell();
    socket.destroy();
    await closed;
  });

  it("invalid HTTP gets a response and a closed connection", async () => {
    for (const line of ["GET /../\\etc HTTP/1.1\r\nHost: a b\r\n\r\n", "HELO runner\r\n\r\n"]) {
      const { socket, told, closed } = await raw(running.url);
      socket.write(line);
      await until(() => told().length > 0);
      socket.destroy();
      await closed;
      expect(told()).toMatch(/^HTTP\/1\.1 400 /);
    }
    await itIsWell();
  });
});

describe("idle connections", () => {
  it("that break off leave nothing behind", async () => {
    const { open } = slowed();
    const running = await runRunner(model, { providers: ["cuda"], open });
    const { socket } = await raw(running.url);
    socket.write(head(100_000));
    socket.write(new Uint8Array(50_000));
    await until(async () => (await running.metric("tilewright_incoming_bytes")) === 50_000);
    expect(await running.metric("tilewright_requests")).toBe(0);
    socket.destroy();
    await until(async () => (await running.metric("tilewright_incoming_bytes")) === 0);
    await running.runner.stop();
  });

  it.each([
    ["without a body", ""],
    ["with the beginning of one", "x".repeat(1000)],
  ])("%s keep nobody from work, however many they are", async (_, beginning) => {
    const { open } = slowed();
    const running = await runRunner(model, { providers: ["cuda"], open, maxBatch: 1 });
    const idle = await Promise.all(Array.from({ length: 60 }, () => raw(running.url)));
    for (const { socket } of idle) socket.write(head(100_000) + beginning);
    await until(
      async () => (await running.metric("tilewright_incoming_bytes")) === idle.length * beginning.length,
    );
    for (let n = 0; n < 3; n++) {
      const answer = await post({ url: running.url, token: TOKEN }, encodeWindowBatch(greys(model, 3)));
      expect(answer.status).toBe(200);
    }
    for (const { socket } of idle) socket.destroy();
    await running.runner.stop();
  });

  it("do not block health checks when they hold every connection for work", async () => {
    const { open } = slowed();
    const running = await runRunner(model, { providers: ["cuda"], open, maxConnections: 5 });
    const idle = await Promise.all(Array.from({ length: 5 }, () => raw(running.url)));
    const request = (path: string) =>
      fetch(new URL(path, running.url), {
        headers: { Authorization: `Bearer ${TOKEN}`, Connection: "close" },
      });
    for (let n = 0; n < 50; n++) {
      const health = await request("/healthz");
      expect(health.status).toBe(200);
      expect(await health.json()).toEqual({ ok: true });
      expect((await request("/readyz")).status).toBe(200);
    }
    expect(await problem(await request("/v1/info"))).toMatchObject({ status: 503, code: "busy" });
    // Those that say nothing there neither.
    const more = await Promise.all(Array.from({ length: 60 }, () => raw(running.url)));
    expect((await request("/healthz")).status).toBe(200);
    for (const { socket } of [...idle, ...more]) socket.destroy();
    await until(async () => (await request("/v1/info")).status === 200);
    await running.runner.stop();
  });

  it("hold at most as much memory together as complete bodies may", async () => {
    const { open } = slowed();
    const running = await runRunner(model, { providers: ["cuda"], open, maxBatch: 1, maxBodyMib: 1 });
    // 9 places of a MiB.
    const idle = await Promise.all(Array.from({ length: 12 }, () => raw(running.url)));
    for (const { socket } of idle) socket.write(head(2 ** 20));
    for (const { socket } of idle) socket.write(new Uint8Array(900_000));
    await until(() => idle.some(({ told }) => told().includes('"busy"')));
    expect(await running.metric("tilewright_incoming_bytes")).toBeLessThanOrEqual(9 * 2 ** 20);
    for (const { socket } of idle) socket.destroy();
    await until(async () => (await running.metric("tilewright_incoming_bytes")) === 0);
    expect((await post({ url: running.url, token: TOKEN }, encodeWindowBatch(greys(model, 1)))).status).toBe(
      200,
    );
    await running.runner.stop();
  });
});

describe("overload", () => {
  it("is rejected with Retry-After on the same connection, and served on retry", async () => {
    const { device, open } = slowed();
    const running = await runRunner(model, { providers: ["cuda"], open, maxBatch: 1 });
    device.runMs = 20;
    const { requests } = (
      await (
        await fetch(new URL("/v1/info", running.url), { headers: { Authorization: `Bearer ${TOKEN}` } })
      ).json()
    ).limits;
    const answers = await Promise.all(
      Array.from({ length: 8 * requests }, () =>
        post({ url: running.url, token: TOKEN }, encodeWindowBatch(greys(model, 3)), {
          Connection: "keep-alive",
        }),
      ),
    );
    const busy = answers.filter((response) => response.status !== 200);
    expect(answers.length - busy.length).toBeGreaterThanOrEqual(requests);
    expect(busy.length).toBeGreaterThan(0);
    for (const response of busy) {
      expect(Number(response.headers.get("Retry-After"))).toBeGreaterThan(0);
      expect(response.headers.get("Connection")).not.toBe("close");
      expect(await problem(response)).toMatchObject({ status: 503, code: "busy" });
    }
    const again = await post({ url: running.url, token: TOKEN }, encodeWindowBatch(greys(model, 3)));
    expect(again.status).toBe(200);
    expect(await running.metric("tilewright_errors_total")).toBe(busy.length);
    await running.runner.stop();
  });
});

describe("a device", () => {
  it("a device with little memory gets few windows; one with none returns an error, and the runner keeps running", async () => {
    const { device, open } = slowed();
    const running = await runRunner(model, { providers: ["cuda"], open, maxBatch: 16 });
    const served = { url: running.url, token: TOKEN };
    device.memoryWindows = 3;
    device.runs.length = 0;
    const cramped = await post(served, encodeWindowBatch(greys(model, 16)));
    expect(cramped.status).toBe(200);
    expect([...new Set(device.runs)].slice(0, 4)).toEqual([16, 8, 4, 2]);
    const headers = { Authorization: `Bearer ${TOKEN}` };
    const info = await (await fetch(new URL("/v1/info", running.url), { headers })).json();
    expect(info.runtime.batch).toBe(2);
    device.memoryWindows = 0;
    const refused = await post(served, encodeWindowBatch(greys(model, 4)));
    expect(Number(refused.headers.get("Retry-After"))).toBeGreaterThan(0);
    const told = await problem(refused);
    expect(told).toMatchObject({ status: 507, code: "out_of_memory" });
    expect(told.message).not.toContain("bfc_arena");
    const remote = await RemoteSegmenter.connect(running.url.href, { token: TOKEN });
    const { pixels, scaling } = greys(model, 2);
    await expect(remote.segment(pixels, { scaling })).rejects.toMatchObject({
      code: "out_of_memory",
      status: 507,
      retryable: true,
    });
    device.memoryWindows = 1;
    expect((await remote.segment(pixels, { scaling })).shape).toEqual([2, 3, 32, 32]);
    await running.runner.stop();
  });

  it("errors of a device go to the log, not to the client; after repeated failures the runner is not ready", async () => {
    const { device, open } = slowed();
    const running = await runRunner(model, { providers: ["cuda"], open });
    device.failure = new Error("CUDA error at /home/someone/secret.cu:12");
    for (let i = 0; i < 3; i++) {
      const told = await problem(
        await post({ url: running.url, token: TOKEN }, encodeWindowBatch(greys(model, 1))),
      );
      expect(told).toMatchObject({ status: 500, code: "internal" });
      expect(told.message).not.toContain("secret");
    }
    expect(running.log.lines.join("")).toContain("secret.cu:12");
    const unready = await fetch(new URL("/readyz", running.url));
    expect([unready.status, await unready.json()]).toEqual([503, { ready: false, reason: "failing" }]);
    device.failure = undefined;
    expect((await post({ url: running.url, token: TOKEN }, encodeWindowBatch(greys(model, 1)))).status).toBe(
      200,
    );
    expect((await fetch(new URL("/readyz", running.url))).status).toBe(200);
    await running.runner.stop();
  });
});

describe("shutdown", () => {
  it("answers running requests, rejects new ones, and ends", async () => {
    const { device, open } = slowed();
    const running = await runRunner(model, { providers: ["cuda"], open, maxBatch: 1 });
    device.runMs = 60;
    device.runs.length = 0;
    const served = { url: running.url, token: TOKEN };
    const underWay = post(served, encodeWindowBatch(greys(model, 8)));
    await until(() => device.runs.length > 0);
    const stopped = running.runner.stop();
    const unready = await fetch(new URL("/readyz", running.url));
    expect([unready.status, await unready.json()]).toEqual([503, { ready: false, reason: "draining" }]);
    expect((await fetch(new URL("/healthz", running.url))).status).toBe(200);
    const late = await post(served, encodeWindowBatch(greys(model, 1)));
    expect(Number(late.headers.get("Retry-After"))).toBeGreaterThan(0);
    expect(await problem(late)).toMatchObject({ status: 503, code: "draining" });
    expect((await underWay).status).toBe(200);
    expect((await (await underWay).arrayBuffer()).byteLength).toBeGreaterThan(8 * 3 * 1024);
    expect(await stopped).toBe(true);
    await expect(fetch(new URL("/healthz", running.url))).rejects.toThrow();
    expect(await running.runner.stop()).toBe(true);
  });

  it("ends after the shutdown timeout", async () => {
    const { device, open } = slowed();
    const running = await runRunner(model, { providers: ["cuda"], open, maxBatch: 1, drainSeconds: 0.2 });
    device.runMs = 5000;
    device.runs.length = 0;
    const cutOff = post({ url: running.url, token: TOKEN }, encodeWindowBatch(greys(model, 20)));
    cutOff.catch(() => {});
    await until(() => device.runs.length > 0);
    const started = performance.now();
    expect(await running.runner.stop()).toBe(false);
    // The windows would take a hundred seconds.
    expect(performance.now() - started).toBeLessThan(50_000);
    await expect(cutOff).rejects.toThrow();
  });
});

it("is not blocked by a hung device whose client has disconnected", async () => {
  const { open } = slowed({ runMs: 0 });
  let golden = true;
  const hanging: typeof open = async (name, which, options) => {
    const session = await open(name, which, options);
    return {
      info: session.info,
      close: () => new Promise(() => {}),
      segment: (batch, how) => (golden ? session.segment(batch, how) : new Promise(() => {})),
    };
  };
  const running = await runRunner(model, { open: hanging, drainSeconds: 0 });
  golden = false;
  const caller = new AbortController();
  const asked = fetch(new URL("/v1/segment", running.url), {
    method: "POST",
    headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": WINDOW_BATCH_TYPE },
    body: encodeWindowBatch(greys(model, 1)),
    signal: caller.signal,
  }).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 100));
  caller.abort();
  await asked;
  const started = performance.now();
  await running.runner.stop();
  // The session never closes.
  expect(performance.now() - started).toBeLessThan(30_000);
});
