import type { Bounds } from "../data/camera.ts";
import type { ViewerModel } from "../viewer/viewer-model.ts";
import { checkRoi, readRegionFile, roiOfBox } from "./region-box.ts";
import { RegionClient } from "./region-client.ts";
import type { PreviewedWindow, RegionCount, RegionSetup, Roi, WholeScan } from "./region-messages.ts";

/** What a page offers for regions of the scan that it shows. */
export interface RegionOffer {
  /** Where scan and model are, and the settings that a run would have. @throws {Error} a sentence */
  prepare(): Promise<RegionSetup>;
  /** What segmenting so many windows costs, a few words. @param preview of one window, if there was one */
  costText(count: RegionCount, preview: PreviewedWindow | undefined): string | undefined;
  /** Segments a region. Undefined: the page cannot, and shows `command`. @throws {Error} a sentence */
  run?(roi: Roi, settings: { tissueMask: boolean }): Promise<void>;
  /** The command line that segments a region. */
  command?(roi: Roi, settings: { tissueMask: boolean }): string;
}

/** The region that is chosen on a viewer page, how many windows it has, and a preview of one of them. */
export class RegionModel {
  readonly offer: RegionOffer;
  readonly #viewer: ViewerModel;
  readonly #listeners = new Set<() => void>();
  #client: RegionClient | undefined;
  #turn = 0;
  #counting: Promise<void> | undefined;
  #setup: RegionSetup | undefined;
  whole: WholeScan | undefined;
  roi: Roi | undefined;
  /** Outlines of an imported file, around which `roi` is. */
  rings: readonly (readonly number[])[] = [];
  count: RegionCount | undefined;
  preview: PreviewedWindow | undefined;
  /** Set while the pointer draws on the picture. */
  isDrawing = false;
  /** Whether background is left out. */
  tissueMask = true;
  busy: "planning" | "previewing" | "starting" | undefined;
  /** What went wrong, a sentence. */
  problem: string | undefined;

  constructor(offer: RegionOffer, viewer: ViewerModel) {
    this.offer = offer;
    this.#viewer = viewer;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Width and height of the image in level-0 pixels. */
  get size(): { width: number; height: number } {
    const [height, width] = this.#viewer.report!.shape.slice(-2) as [number, number];
    return { width, height };
  }

  /** Plans the whole scan: its intensities and windows are those of every region. */
  async open(): Promise<void> {
    if (this.whole || this.busy === "planning") return;
    await this.#busy("planning", async () => {
      if (this.#setup === undefined) {
        this.#setup = await this.offer.prepare();
        this.tissueMask = this.#setup.settings.tissueMask ?? true;
      }
      const setup = this.#setup;
      this.#client?.close();
      this.#client = new RegionClient();
      const settings = { ...setup.settings, tissueMask: this.tissueMask };
      this.whole = await this.#client.open({ ...setup, settings });
    });
    if (this.whole && this.roi) this.#startCounting();
  }

  /** Plans again, with or without background. */
  async setTissueMask(tissueMask: boolean): Promise<void> {
    this.tissueMask = tissueMask;
    this.whole = this.count = this.preview = undefined;
    await this.open();
  }

  setDrawing(isDrawing: boolean): void {
    this.isDrawing = isDrawing;
    this.#changed();
  }

  /** @param box in level-0 pixels; it may reach beyond the image */
  setBox(box: Bounds): void {
    this.#set(() => ({ roi: roiOfBox(box, this.size), rings: [] }));
  }

  setRoi(roi: Roi): void {
    this.#set(() => ({ roi: checkRoi(roi, this.size), rings: [] }));
  }

  async importFile(file: File): Promise<void> {
    try {
      const outline = await readRegionFile(file, this.size);
      this.#set(() => outline);
    } catch (error) {
      this.#fail(error);
    }
  }

  clear(): void {
    this.roi = this.count = this.problem = undefined;
    this.rings = [];
    this.#changed();
  }

  clearPreview(): void {
    this.preview = undefined;
    this.#changed();
  }

  /** Segments the window in the middle of the region, or of the view. */
  async showPreview(): Promise<void> {
    await this.open();
    const { x, y } = this.roi
      ? { x: this.roi[0] + this.roi[2] / 2, y: this.roi[1] + this.roi[3] / 2 }
      : this.#viewer.scene.camera;
    if (this.whole)
      await this.#busy("previewing", async () => {
        this.preview = await this.#client!.preview([y, x]);
      });
  }

  async run(): Promise<void> {
    const { roi, tissueMask } = this;
    if (roi) await this.#busy("starting", async () => this.offer.run?.(roi, { tissueMask }));
  }

  close(): void {
    this.#client?.close();
    this.#listeners.clear();
  }

  #set(choose: () => { roi: Roi; rings: readonly (readonly number[])[] }): void {
    try {
      Object.assign(this, choose());
      this.problem = this.count = undefined;
      if (this.whole) this.#startCounting();
      else void this.open();
    } catch (error) {
      this.#fail(error);
    }
    this.#changed();
  }

  /** Counts the latest region; those that were passed over while it counted are left out. */
  #startCounting(): void {
    const turn = ++this.#turn;
    this.#counting = (this.#counting ?? Promise.resolve()).then(async () => {
      if (turn !== this.#turn || !this.roi) return;
      try {
        const count = await this.#client!.count(this.roi);
        if (turn !== this.#turn) return;
        this.count = count;
        this.#changed();
      } catch (error) {
        this.#fail(error);
      }
    });
  }

  async #busy(what: NonNullable<RegionModel["busy"]>, work: () => Promise<void>): Promise<void> {
    this.busy = what;
    this.problem = undefined;
    this.#changed();
    try {
      await work();
    } catch (error) {
      this.#fail(error);
    }
    this.busy = undefined;
    this.#changed();
  }

  #fail(error: unknown): void {
    const { name, message } = error as Error;
    if (name === "AbortError") return;
    const sentence = message.charAt(0).toUpperCase() + message.slice(1);
    this.problem = /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
    this.#changed();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
