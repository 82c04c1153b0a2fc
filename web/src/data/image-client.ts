import type { ImageRequest, ImageResponse, OpenedImage, RawSamples, ReadSamples } from "./image-messages.ts";
import type { PlacedKey } from "./place.ts";

type ReadRequest = Omit<Extract<ImageRequest, { kind: "read" }>, "id" | "kind">;
type Answer = OpenedImage | ReadSamples | RawSamples;
type UnsentRequest = ImageRequest extends infer R
  ? R extends { id: number }
    ? Omit<R, "id">
    : never
  : never;

/** Workers beside the first: decoding is what takes time. */
const MAX_WORKERS = 4;
/** Two requests for each worker: one is decoded while the bytes of the other arrive. */
const REQUESTS_PER_WORKER = 2;

/** A worker that waits for the first image. */
let prepared: Worker | undefined;

/** Starts a worker before it is known which image is shown: its code arrives meanwhile. */
export function prepareImageWorker(): void {
  prepared ??= startWorker();
  prepared.postMessage({ kind: "prepare" } satisfies ImageRequest);
}

function startWorker(): Worker {
  return new Worker(new URL("../workers/image-worker.ts", import.meta.url), { type: "module" });
}

interface PendingCall {
  resolve(value: Answer): void;
  reject(error: Error): void;
}

/** One worker with the image open in it. */
class ImageWorker {
  readonly #worker: Worker;
  readonly #pending = new Map<number, PendingCall>();
  readonly opened: Promise<OpenedImage>;
  #next = 0;
  /** Reads in progress. */
  load = 0;

  constructor(address: PlacedKey) {
    this.#worker = prepared ?? startWorker();
    prepared = undefined;
    this.#worker.onmessage = ({ data }: MessageEvent<ImageResponse>) => this.#settle(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new Error(`the image cannot be decoded here: ${event.message || "its worker stopped"}`));
    };
    this.opened = this.#call({ kind: "open", address }) as Promise<OpenedImage>;
    this.opened.catch(() => {});
  }

  async read(request: ReadRequest, signal: AbortSignal): Promise<Answer> {
    await this.opened;
    signal.throwIfAborted();
    const id = this.#next;
    const cancel = () => this.#worker.postMessage({ id, kind: "cancel" } satisfies ImageRequest);
    signal.addEventListener("abort", cancel, { once: true });
    try {
      return await this.#call({ kind: "read", ...request });
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }

  close(): void {
    this.#worker.terminate();
    this.#fail(new DOMException("the image was closed", "AbortError"));
  }

  #call(request: UnsentRequest): Promise<Answer> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...request } as ImageRequest);
    });
  }

  #settle(response: ImageResponse): void {
    const call = this.#pending.get(response.id);
    this.#pending.delete(response.id);
    if (response.ok) call?.resolve(response.value);
    else
      call?.reject(
        response.isAbort ? new DOMException(response.message, "AbortError") : new Error(response.message),
      );
  }

  #fail(error: Error): void {
    for (const call of this.#pending.values()) call.reject(error);
    this.#pending.clear();
  }
}

/** An image decoded in Web Workers. The first worker opens it; more are started when tiles queue up. */
export class ImageClient {
  readonly #address: PlacedKey;
  readonly #workers: ImageWorker[];
  readonly #most: number;

  constructor(address: PlacedKey) {
    this.#address = address;
    this.#workers = [new ImageWorker(address)];
    this.#most = Math.max(1, Math.min(MAX_WORKERS, (navigator.hardwareConcurrency || 2) - 1));
  }

  /** @throws {Error} with a sentence that says why the image cannot be read */
  get opened(): Promise<OpenedImage> {
    return this.#workers[0]!.opened;
  }

  /** Useful number of reads at a time. */
  get concurrency(): number {
    return this.#most * REQUESTS_PER_WORKER;
  }

  async read(request: ReadRequest & { form: "bytes" | "planes" }, signal: AbortSignal): Promise<ReadSamples> {
    return (await this.#read(request, signal)) as ReadSamples;
  }

  /** Samples of a region as they are stored. */
  async readSamples(request: Omit<ReadRequest, "form">, signal: AbortSignal): Promise<RawSamples> {
    return (await this.#read({ ...request, form: "samples" }, signal)) as RawSamples;
  }

  async #read(request: ReadRequest, signal: AbortSignal): Promise<Answer> {
    const worker = this.#leastLoaded();
    worker.load++;
    try {
      return await worker.read(request, signal);
    } finally {
      worker.load--;
    }
  }

  close(): void {
    for (const worker of this.#workers) worker.close();
  }

  #leastLoaded(): ImageWorker {
    const least = this.#workers.reduce((a, b) => (b.load < a.load ? b : a));
    if (least.load < REQUESTS_PER_WORKER || this.#workers.length >= this.#most) return least;
    const started = new ImageWorker(this.#address);
    this.#workers.push(started);
    return started;
  }
}
