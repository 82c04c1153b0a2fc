import * as z from "zod";
import { parseRetryAfter, RETRYABLE_STATUS } from "../../storage/retry.ts";
import { product, type Raster, type SampleArray } from "../../tiling/grid/raster.ts";
import type { IntensityNormalization } from "../../tiling/pixels/normalize.ts";
import {
  decodeMaskBatch,
  MASK_BATCH_TYPE,
  type MaskBatch,
  maxMaskBatchBytes,
} from "../../tiling/wire/mask-batch.ts";
import { decodeProbabilitiesInto, type MaskRecord } from "../../tiling/wire/mask-record.ts";
import { encodeWindowBatch, WINDOW_BATCH_TYPE, type WirePixels } from "../../tiling/wire/window-batch.ts";
import { MAX_HEADER_BYTES, WireFormatError } from "../../tiling/wire/wire-message.ts";
import { RemoteError } from "../errors.ts";
import type { EncodedWindows, SegmentBatchOptions, Segmenter, SegmenterInfo } from "../segmenter.ts";
import { type HttpResponse, httpRequest, parseJsonResponse } from "./http-request.ts";
import { type ServiceInfo, serviceInfoSchema } from "./service-info.ts";
import { toRemoteError } from "./transport-errors.ts";

export interface RemoteOptions {
  /** Bearer token of the service; a runner on this machine may need none. */
  token?: string;
  /** Expected hash of the model package; another model is an error before any work. */
  modelHash?: string;
  signal?: AbortSignal;
}

/** Services reject an empty intensity range, as of an image of one value; the smallest range gives the same result. */
function withRange(scaling: IntensityNormalization): IntensityNormalization {
  const { low, high } = scaling;
  if (high > low) return scaling;
  let step = Math.max(Number.EPSILON * Math.abs(low), 1e-300);
  while (!(low + step > low)) step *= 2;
  return { ...scaling, high: low + step };
}

/** Services reject infinite pixels; the largest finite values give the same result after clipping. */
function finitePixels(data: WirePixels): WirePixels {
  const most = 3.4028234663852886e38;
  if (!(data instanceof Float32Array) || !data.some((v) => Math.abs(v) > most)) return data;
  return data.map((v) => Math.min(most, Math.max(-most, v)));
}

const problemSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

/** Maximum bytes of `GET /v1/info`. */
const MAX_INFO_BYTES = 1 << 20;

/** Statuses after which the same request may succeed. 507: the device may have free memory later. */

/**
 * Client of a segmentation service, an edge function or a runner. A batch is one request, or several if it exceeds the
 * service's limit. Nothing is retried; `RemoteError.retryable` states whether a retry could help.
 */
export class RemoteSegmenter implements Segmenter {
  readonly info: SegmenterInfo;
  readonly traffic = { bytesSent: 0, bytesReceived: 0 };
  readonly #url: URL;
  readonly #options: RemoteOptions;
  readonly #service: ServiceInfo;

  private constructor(url: URL, options: RemoteOptions, service: ServiceInfo) {
    this.#url = url;
    this.#options = options;
    this.#service = service;
    this.info = {
      model: service.model.name,
      variant: service.model.variant,
      runtime: `${service.runtime.name} at ${url.host}`,
      threads: 1,
      classes: service.classes,
      window: service.window,
      channels: service.channels,
    };
  }

  /**
   * Connects to a service and reads its model and limits; the service loads and verifies its model for that.
   * @param base address of the service, without routes
   * @throws {RemoteError}
   */
  static async connect(base: string, options: RemoteOptions): Promise<RemoteSegmenter> {
    const url = new URL(base.endsWith("/") ? base : `${base}/`);
    const answer = await request(url, "v1/info", options, {
      method: "GET",
      maxBytes: MAX_INFO_BYTES,
      signal: options.signal,
    });
    const parsed = serviceInfoSchema.safeParse(parseJsonResponse(answer));
    if (!parsed.success) {
      throw new RemoteError(
        `${url.host} is not an edge function or a runner of Tilewright: ${z.prettifyError(parsed.error)}`,
        { code: "bad_answer", retryable: false, status: answer.status },
      );
    }
    const { model } = parsed.data;
    if (options.modelHash !== undefined && options.modelHash !== model.hash) {
      throw new RemoteError(
        `${url.host} runs ${model.name} ${model.variant} with hash ${model.hash}, expected ${options.modelHash}; upload the same package there`,
        { code: "wrong_model", retryable: false },
      );
    }
    return new RemoteSegmenter(url, options, parsed.data);
  }

  /** Maximum windows of a request, and concurrent requests that keep the service busy, if stated. */
  get limits(): { windows: number; requests: number | undefined } {
    const { window, channels, limits } = this.#service;
    const bytes = product(window) * channels;
    const fitting = Math.floor((limits.maxBodyBytes - MAX_HEADER_BYTES) / bytes);
    return { windows: Math.max(1, Math.min(limits.maxWindows, fitting)), requests: limits.requests };
  }

  /** @throws {RemoteError} */
  async segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    const { precision = "f32" } = options;
    const { data, shape } = await this.segmentEncoded(batch, options);
    const size = product(shape);
    const out = new Float32Array(data.length * size);
    data.forEach((window, n) => {
      decodeProbabilitiesInto({ precision, data: window }, out, n * size);
    });
    return { data: out, shape: [data.length, ...shape] };
  }

  /** @throws {RemoteError} */
  async segmentEncoded(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<EncodedWindows> {
    // Networks take float32, so float64 is rounded here.
    const data = batch.data instanceof Float64Array ? Float32Array.from(batch.data) : batch.data;
    const [windows, ...shape] = batch.shape as [number, ...number[]];
    const samples = product(shape);
    const { classes, window, limits } = this.#service;
    const room = limits.maxBodyBytes - MAX_HEADER_BYTES;
    const fitting = Math.floor(room / (samples * data.BYTES_PER_ELEMENT));
    const perRequest = Math.max(1, Math.min(limits.maxWindows, fitting));
    const encoded: MaskRecord["data"][] = [];
    for (let first = 0; first < windows; first += perRequest) {
      options.signal?.throwIfAborted();
      const count = Math.min(perRequest, windows - first);
      const part = data.subarray(first * samples, (first + count) * samples) as WirePixels;
      const masks = await this.#request({ data: part, shape: [count, ...shape] }, options);
      for (const record of masks.records) encoded.push(record.data);
    }
    return { data: encoded, shape: [classes, ...window] };
  }

  /** No connection is kept open. */
  async close(): Promise<void> {}

  async #request(
    pixels: Raster<WirePixels>,
    { scaling, precision = "f32", signal }: SegmentBatchOptions,
  ): Promise<MaskBatch> {
    const { model } = this.#service;
    const windows = Array.from({ length: pixels.shape[0]! }, (_, n) => n);
    const { hash, variant } = model;
    const { classes, window } = this.#service;
    const body = encodeWindowBatch({
      model: hash,
      variant,
      precision,
      windows,
      scaling: withRange(scaling),
      pixels: { ...pixels, data: finitePixels(pixels.data) },
    });
    const bytesSent = body.length;
    const { status, headers, bytes } = await request(this.#url, "v1/segment", this.#options, {
      method: "POST",
      contentType: WINDOW_BATCH_TYPE,
      body,
      freeBody: true,
      maxBytes: maxMaskBatchBytes(windows.length, [classes, ...window], precision),
      signal,
    });
    this.traffic.bytesSent += bytesSent;
    this.traffic.bytesReceived += bytes.length;
    /** Damaged responses are retryable; complete but wrong ones are not. */
    const bad = (
      reason: string,
      { retryable = false, cause }: { retryable?: boolean; cause?: unknown } = {},
    ) =>
      new RemoteError(`${this.#url.host} returned an invalid response: ${reason}`, {
        code: "bad_answer",
        retryable,
        status,
        cause,
      });
    if (headers["content-type"] !== MASK_BATCH_TYPE) {
      throw bad(`its type is ${headers["content-type"] ?? "not stated"}`, { retryable: true });
    }
    let masks: MaskBatch;
    try {
      masks = decodeMaskBatch(bytes);
    } catch (cause) {
      throw cause instanceof WireFormatError ? bad(cause.message, { retryable: true, cause }) : cause;
    }
    if (masks.shape.join() !== [classes, ...window].join()) throw bad(`records are ${masks.shape.join("×")}`);
    if (masks.records.map((r) => r.window).join() !== windows.join()) throw bad("it has other windows");
    if (masks.model !== hash || masks.variant !== variant) throw bad("it is from another model");
    if (masks.precision !== precision) throw bad(`its precision is ${masks.precision}`);
    return masks;
  }
}

/** @returns a response with status 2xx @throws {RemoteError} otherwise; the signal's reason */
async function request(
  base: URL,
  path: string,
  { token }: RemoteOptions,
  { contentType, ...rest }: Omit<Parameters<typeof httpRequest>[1], "headers"> & { contentType?: string },
): Promise<HttpResponse> {
  const headers: Record<string, string> = {};
  if (contentType) headers["Content-Type"] = contentType;
  if (token) headers.Authorization = `Bearer ${token}`;
  let answer: HttpResponse;
  try {
    answer = await httpRequest(new URL(path, base), { ...rest, headers });
  } catch (cause) {
    if (rest.signal?.aborted) throw cause;
    throw toRemoteError(base.host, cause);
  }
  const { status } = answer;
  if (status >= 200 && status < 300) return answer;
  if (status >= 300 && status < 400) {
    throw new RemoteError(`${base.host} redirects: give the address that it redirects to`, {
      code: "redirected",
      retryable: false,
      status,
    });
  }
  const parsed = problemSchema.safeParse(parseJsonResponse(answer));
  const problem = parsed.success ? parsed.data.error : { code: "bad_answer", message: "no reason was given" };
  throw new RemoteError(`${base.host} returned status ${status}: ${problem.message}`, {
    code: problem.code,
    retryable: RETRYABLE_STATUS.has(status),
    status,
    retryAfterMs: parseRetryAfter(answer.headers["retry-after"], Date.now()),
  });
}
