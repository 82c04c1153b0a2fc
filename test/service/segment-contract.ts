import { expect, it } from "vitest";
import { RemoteSegmenter } from "../../src/inference/remote/remote-segmenter.ts";
import {
  encodeWindowBatch,
  WINDOW_BATCH_TYPE,
  type WindowBatch,
} from "../../src/tiling/wire/window-batch.ts";
import { encodeMessage } from "../../src/tiling/wire/wire-message.ts";

/** A service with the pointwise package and windows of 32². */
export interface Served {
  url: URL;
  token: string;
  /** A valid colour window of 8 bits. */
  good: WindowBatch;
  maxWindows: number;
  maxBodyBytes: number;
}

/** An error before the end of the body closes the connection, so the next request needs another. */
export const ONCE = { Connection: "close" };

/** Windows of these `[N, ...window, C]`. */
export const pixels = (...shape: number[]) => ({
  data: new Uint8Array(shape.reduce((p, n) => p * n, 1)),
  shape,
});

export function post(
  { url, token }: Pick<Served, "url" | "token">,
  body: Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(new URL("/v1/segment", url), {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": WINDOW_BATCH_TYPE, ...ONCE, ...headers },
    body,
  });
}

/** The error of a response; fails for other responses. */
export async function problem(
  response: Response,
): Promise<{ status: number; code: string; message: string }> {
  const { error } = (await response.json()) as { error: { code: string; message: string } };
  expect(error.message).toMatch(/^[\w"].{10,}/);
  return { status: response.status, ...error };
}

/** The contract of every service that segments windows: docs/format.md. */
export function itKeepsTheContract(served: () => Served): void {
  const scaled = (scaling: WindowBatch["scaling"]) => encodeWindowBatch({ ...served().good, scaling });
  const floats = (last: number) => {
    const shape = [1, 32, 32, 3];
    const data = new Float32Array(32 * 32 * 3).fill(0.5);
    data[data.length - 1] = last;
    return encodeWindowBatch({ ...served().good, scaling: { low: 0, high: 1 }, pixels: { data, shape } });
  };
  const batches: [string, number, string, () => Uint8Array<ArrayBuffer>][] = [
    [
      "a batch for other weights",
      409,
      "wrong_model",
      () => encodeWindowBatch({ ...served().good, model: "f".repeat(64) }),
    ],
    [
      "a batch for another variant",
      409,
      "wrong_model",
      () => encodeWindowBatch({ ...served().good, variant: "int4" }),
    ],
    [
      "windows of another size",
      422,
      "wrong_shape",
      () => encodeWindowBatch({ ...served().good, pixels: pixels(1, 16, 32, 3) }),
    ],
    [
      "windows with an axis more",
      422,
      "wrong_shape",
      () => encodeWindowBatch({ ...served().good, pixels: pixels(1, 1, 32, 32, 3) }),
    ],
    [
      "two channels for a model of three",
      422,
      "wrong_shape",
      () => encodeWindowBatch({ ...served().good, pixels: pixels(1, 32, 32, 2) }),
    ],
    [
      "more windows than allowed",
      413,
      "too_many_windows",
      () => {
        const count = served().maxWindows + 1;
        const windows = Array.from({ length: count }, (_, n) => n);
        return encodeWindowBatch({ ...served().good, windows, pixels: pixels(count, 32, 32, 3) });
      },
    ],
    ["a body over the limit", 413, "too_large", () => new Uint8Array(served().maxBodyBytes + 1)],
    [
      "an unknown precision",
      400,
      "bad_message",
      () => encodeWindowBatch({ ...served().good, precision: "f64" as never }),
    ],
    [
      "window numbers that are missing",
      400,
      "bad_message",
      () => encodeWindowBatch({ ...served().good, windows: [] }),
    ],
    ["an empty range of intensities", 400, "bad_message", () => scaled({ low: 5, high: 5 })],
    ["a range of intensities upside down", 400, "bad_message", () => scaled({ low: 9, high: 5 })],
    ["a range without end", 400, "bad_message", () => scaled({ low: 0, high: Number.POSITIVE_INFINITY })],
    ["a range that overflows", 400, "bad_message", () => scaled({ low: -1e308, high: 1e308 })],
    ["a range that is no number", 400, "bad_message", () => scaled({ low: Number.NaN, high: 1 })],
    ["a clip upside down", 400, "bad_message", () => scaled({ low: 0, high: 1, clip: [1, 0] })],
    ["an infinite pixel", 422, "bad_pixels", () => floats(Number.POSITIVE_INFINITY)],
    ["an infinitely negative pixel", 422, "bad_pixels", () => floats(Number.NEGATIVE_INFINITY)],
    ["a message that is cut off", 400, "bad_message", () => encodeWindowBatch(served().good).slice(0, -1)],
    ["a message of the other kind", 400, "bad_message", () => encodeMessage("TWMB", {}, [])],
    ["an empty body", 400, "bad_message", () => new Uint8Array(0)],
    ["text", 400, "bad_message", () => new TextEncoder().encode("segment this, please, and quickly")],
  ];
  it.each(batches)("%s gives %i %s", async (_, status, code, body) => {
    expect(await problem(await post(served(), body()))).toMatchObject({ status, code });
  });

  it("rejects another content type and an unstated length before reading the body", async () => {
    const wrongType = await post(served(), encodeWindowBatch(served().good), {
      "Content-Type": "application/json",
    });
    expect(await problem(wrongType)).toMatchObject({ status: 415, code: "wrong_type" });
    const unstated = await fetch(new URL("/v1/segment", served().url), {
      method: "POST",
      headers: authorized(served(), { "Content-Type": WINDOW_BATCH_TYPE, ...ONCE }),
      body: new Blob([encodeWindowBatch(served().good)]).stream(),
      duplex: "half",
    } as RequestInit);
    expect(await problem(unstated)).toMatchObject({ status: 411, code: "length_required" });
  });

  it("accepts NaN pixels as no data", async () => {
    expect((await post(served(), floats(Number.NaN))).status).toBe(200);
  });

  it("accepts constant and infinite intensities from a client", async () => {
    const service = await RemoteSegmenter.connect(served().url.href, { token: served().token });
    const segment = (values: number[], scaling: WindowBatch["scaling"]) => {
      const data = Float32Array.from({ length: 32 * 32 }, (_, i) => values[i % values.length]!);
      return service.segment({ data, shape: [1, 32, 32, 1] }, { scaling });
    };
    for (const level of [0, 7, -3.5, 65535]) {
      const flat = await segment([level, level + 2], { low: level, high: level, clip: [0, 1] });
      const steep = await segment([level, level + 2], { low: level, high: level + 1e-6, clip: [0, 1] });
      expect(flat.data).toEqual(steep.data);
    }
    const clipped = await segment([-1e30, 1e30], { low: 0, high: 1, clip: [0, 1] });
    const infinite = await segment([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY], {
      low: 0,
      high: 1,
      clip: [0, 1],
    });
    expect(infinite.data).toEqual(clipped.data);
  });

  it("rejects unknown routes and methods", async () => {
    const get = (path: string, method = "GET") =>
      fetch(new URL(path, served().url), { method, headers: authorized(served()) });
    expect(await problem(await get("/v1/nothing"))).toMatchObject({ status: 404, code: "not_found" });
    expect(await problem(await get("/"))).toMatchObject({ status: 404, code: "not_found" });
    const segment = await get("/v1/segment");
    expect(segment.headers.get("Allow")).toBe("POST");
    expect(await problem(segment)).toMatchObject({ status: 405, code: "method_not_allowed" });
    expect(await problem(await get("/v1/info", "DELETE"))).toMatchObject({ status: 405 });
  });

  it.each([
    ["no token", () => ({})],
    ["another token", (token: string) => ({ Authorization: `Bearer ${token.slice(0, -1)}x` })],
    ["a token and more", (token: string) => ({ Authorization: `Bearer ${token}x` })],
    ["a token without its scheme", (token: string) => ({ Authorization: token })],
    ["an empty token", () => ({ Authorization: "Bearer " })],
  ])("%s gives access to /healthz only", async (_, headers) => {
    for (const path of ["/v1/info", "/v1/segment", "/v1/nothing"]) {
      const response = await fetch(new URL(path, served().url), {
        method: "POST",
        headers: { ...headers(served().token), ...ONCE },
        body: "x",
      });
      expect(response.headers.get("WWW-Authenticate")).toBe("Bearer");
      expect(await problem(response)).toMatchObject({ status: 401, code: "unauthorized" });
    }
    expect(await (await fetch(new URL("/healthz", served().url))).json()).toEqual({ ok: true });
  });

  it("still serves valid requests after that: grey, 16 bits, and several at a time", async () => {
    const service = await RemoteSegmenter.connect(served().url.href, { token: served().token });
    const shape = [8, 32, 32, 1];
    const data = Uint16Array.from({ length: 8 * 1024 }, (_, i) => (i >> 10) * 8192);
    const out = await service.segment({ data, shape }, { scaling: { low: 0, high: 65535 } });
    expect(out.shape).toEqual([8, 3, 32, 32]);
    // Dark windows are background, bright ones bright, others rim.
    const labels = Array.from({ length: 8 }, (_, n) =>
      [0, 1, 2].reduce(
        (best, k) => (out.data[(n * 3 + k) * 1024]! > out.data[(n * 3 + best) * 1024]! ? k : best),
        0,
      ),
    );
    expect(labels).toEqual([0, 0, 0, 2, 2, 1, 1, 1]);
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => post(served(), encodeWindowBatch(served().good))),
    );
    for (const response of answers) {
      if (response.status !== 200)
        expect(await problem(response)).toMatchObject({ status: 503, code: "busy" });
    }
    expect(answers.some((response) => response.status === 200)).toBe(true);
  });
}

function authorized({ token }: Served, headers: Record<string, string> = {}): Record<string, string> {
  return { Authorization: `Bearer ${token}`, ...headers };
}
