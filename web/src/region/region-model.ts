import type { Bounds } from "../data/camera.ts";
import type { ViewerModel } from "../viewer/viewer-model.ts";
import { checkPolygons, checkRoi, middleOf, readRegionFile, roiOfBox } from "./region-box.ts";
import { RegionClient } from "./region-client.ts";
import type {
  ChosenRegion,
  PreviewedWindow,
  RegionCount,
  RegionSetup,
  Roi,
  WholeScan,
} from "./region-messages.ts";

/** What a page offers for regions of the scan that it shows. */
export interface RegionOffer {
  /** Where scan and model are, and the settings that a run would have. @throws {Error} a sentence */
  prepare(): Promise<RegionSetup>;
  /** What segmenting so many windows costs, a few words. @param preview of one window, if there was one */
  costText(count: RegionCount, preview: PreviewedWindow | undefined): string | undefined;
  /** Segments a region. Undefined: the page cannot, and shows `command`. @throws {Error} a sentence */
  run?(region: ChosenRegion, settings: RegionChoices): Promise<void>;
  /** What the button of `run` says; default "Segment the region". */
  runText?: string;
  /** A region that was chosen before. */
  before?: ChosenRegion;
  /** Whether the tools are open at once. */
  isOpen?: boolean;
  /** The command line that segments a region. */
  command?(region: ChosenRegion, settings: RegionChoices): string;
}

/** What a user chooses beside the region. */
export interface RegionChoices {
  tissueMask: boolean;
}

/** Corners closer than this to the last one are the same click; closer to the first, they close the polygon. In CSS pixels. */
const CORNER_REACH = 8;

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
  region: ChosenRegion | undefined;
  /** Corners of the polygon that is being drawn, in level-0 pixels. */
  corners: readonly (readonly [x: number, y: number])[] = [];
  count: RegionCount | undefined;
  preview: PreviewedWindow | undefined;
  /** What the pointer draws on the picture. */
  drawing: "rectangle" | "polygon" | undefined;
  /** Whether background is left out. */
  tissueMask = true;
  busy: "planning" | "previewing" | "starting" | undefined;
  /** What went wrong, a sentence. */
  problem: string | undefined;

  constructor(offer: RegionOffer, viewer: ViewerModel) {
    this.offer = offer;
    this.region = offer.before;
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
    if (this.whole && this.region) this.#startCounting();
  }

  /** Plans again, with or without background. */
  async setTissueMask(tissueMask: boolean): Promise<void> {
    this.tissueMask = tissueMask;
    this.whole = this.count = this.preview = undefined;
    await this.open();
  }

  setDrawing(drawing: RegionModel["drawing"]): void {
    this.drawing = drawing;
    this.corners = [];
    this.problem = undefined;
    this.#changed();
  }

  /**
   * Adds a corner to the polygon that is drawn, or closes it at its first corner.
   * @param at in level-0 pixels; outside the image it becomes the nearest point of its border
   */
  addCorner(at: { x: number; y: number }): void {
    const { width, height } = this.size;
    const corner = [Math.min(width, Math.max(0, at.x)), Math.min(height, Math.max(0, at.y))] as const;
    const { scene } = this.#viewer;
    const ratio = scene.screen.width / Math.max(1, scene.canvas.clientWidth);
    const isNear = (other: readonly [number, number] | undefined) =>
      other !== undefined &&
      Math.hypot(corner[0] - other[0], corner[1] - other[1]) * scene.camera.scale <= CORNER_REACH * ratio;
    if (this.corners.length > 2 && isNear(this.corners[0])) {
      this.closePolygon();
      return;
    }
    if (isNear(this.corners.at(-1))) return;
    this.corners = [...this.corners, corner];
    this.problem = undefined;
    this.#changed();
  }

  takeCornerBack(): void {
    this.corners = this.corners.slice(0, -1);
    this.problem = undefined;
    this.#changed();
  }

  /** The polygon that is drawn becomes the region, or a further part of it. */
  closePolygon(): void {
    if (this.corners.length < 3) {
      this.#fail(new Error("a polygon has at least three corners: add some"));
      return;
    }
    const { corners, region } = this;
    this.#set(() => checkPolygons([...(region?.polygons ?? []), [corners]], this.size));
    if (this.region !== region) this.setDrawing(undefined);
  }

  /** @param box in level-0 pixels; it may reach beyond the image */
  setBox(box: Bounds): void {
    this.#set(() => ({ roi: roiOfBox(box, this.size) }));
  }

  setRoi(roi: Roi): void {
    this.#set(() => ({ roi: checkRoi(roi, this.size) }));
  }

  async importFile(file: File): Promise<void> {
    try {
      const region = await readRegionFile(file, this.size);
      this.#set(() => region);
    } catch (error) {
      this.#fail(error);
    }
  }

  clear(): void {
    this.region = this.count = this.problem = undefined;
    this.#changed();
  }

  clearPreview(): void {
    this.preview = undefined;
    this.#changed();
  }

  /** Segments the window in the middle of the region, or of the view. */
  async showPreview(): Promise<void> {
    await this.open();
    const { x, y } = this.region ? middleOf(this.region) : this.#viewer.scene.camera;
    if (this.whole)
      await this.#busy("previewing", async () => {
        this.preview = await this.#client!.preview([y, x]);
      });
  }

  async run(): Promise<void> {
    const { region, tissueMask } = this;
    if (region) await this.#busy("starting", async () => this.offer.run?.(region, { tissueMask }));
  }

  close(): void {
    this.#client?.close();
    this.#listeners.clear();
  }

  #set(choose: () => ChosenRegion): void {
    try {
      this.region = choose();
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
      if (turn !== this.#turn || !this.region) return;
      try {
        const count = await this.#client!.count(this.region);
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
