import type {
  ChosenRegion,
  PreviewedWindow,
  RegionCount,
  RegionRequest,
  RegionResponse,
  RegionSetup,
  WholeScan,
} from "./region-messages.ts";

type Unsent = RegionRequest extends infer R ? (R extends { id: number } ? Omit<R, "id"> : never) : never;

/** Plans regions of one scan, and segments single windows of it, in a worker of the tab. */
export class RegionClient {
  readonly #worker = new Worker(new URL("./region-worker.ts", import.meta.url), { type: "module" });
  readonly #pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #next = 0;

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<RegionResponse>) => {
      const call = this.#pending.get(data.id);
      this.#pending.delete(data.id);
      if (data.ok) call?.resolve(data.value);
      else call?.reject(new Error(data.message));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      for (const { reject } of this.#pending.values())
        reject(new Error(`the tab cannot plan the region: ${event.message || "it has too little memory"}`));
      this.#pending.clear();
    };
  }

  /** Plans the whole scan. */
  open(setup: RegionSetup): Promise<WholeScan> {
    return this.#ask({ kind: "open", setup }) as Promise<WholeScan>;
  }

  count(region: ChosenRegion): Promise<RegionCount> {
    return this.#ask({ kind: "count", region }) as Promise<RegionCount>;
  }

  preview(at: readonly [y: number, x: number]): Promise<PreviewedWindow> {
    return this.#ask({ kind: "preview", at }) as Promise<PreviewedWindow>;
  }

  close(): void {
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(new DOMException("closed", "AbortError"));
    this.#pending.clear();
  }

  #ask(request: Unsent): Promise<unknown> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ ...request, id } as RegionRequest);
    });
  }
}
