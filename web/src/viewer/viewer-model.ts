import type { ImageReport } from "../../../src/image/describe.ts";
import type { RunManifest } from "../../../src/orchestrator/manifest/run-manifest.ts";
import { type Camera, fitCamera, MAX_SCALE, zoomAt } from "../data/camera.ts";
import { ImageClient } from "../data/image-client.ts";
import type { OpenedImage, SampleRange } from "../data/image-messages.ts";
import { type LabelMap, readLabelMap } from "../data/label-map.ts";
import { openPlace, type PlacedKey } from "../data/place.ts";
import type { ViewedScan } from "../data/session.ts";
import type { ChannelLook } from "../scene/image-program.ts";
import { finishedLayer, runningLayer } from "../scene/label-layer.ts";
import type { LabelLook } from "../scene/label-program.ts";
import { Scene } from "../scene/scene.ts";
import { applyLabelView, applyView, followView } from "./apply-view.ts";
import { firstChannelLooks } from "./channel-looks.ts";
import { currentView } from "./current-view.ts";
import { ObjectModel } from "./object-model.ts";
import { type OtherRun, openOtherRun } from "./other-run.ts";
import { decodeView, encodeView, type ViewState } from "./permalink.ts";
import { savePicture } from "./save-picture.ts";

/** The state of one viewer page. Components subscribe; every change goes through a method. */
export class ViewerModel {
  scan: ViewedScan;
  readonly scene: Scene;
  readonly #listeners = { change: new Set<() => void>(), frame: new Set<() => void>() };
  readonly #clients: ImageClient[] = [];
  /** What the address said when the page was opened, or when its fragment was last changed by hand or by a link. */
  #asked: ViewState;
  #lastOpacity = 0.5;
  #linkTimer: ReturnType<typeof setTimeout> | undefined;
  #isHeld = false;
  image: OpenedImage | undefined;
  labels: LabelMap | undefined;
  objects: ObjectModel | undefined;
  manifest: RunManifest | undefined;
  /** Another run of the same image, right of the swipe. */
  other: OtherRun | undefined;
  imageClient: ImageClient | undefined;
  labelClient: ImageClient | undefined;
  /** Volumes: one slice as it is stored, or three planes and a rendering. */
  shows: "slice" | "planes" = "slice";
  /** Where the planes meet, in millimetres, RAS+. */
  crosshair: readonly [number, number, number] | undefined;
  /** Sentences, newest last. */
  errors: string[] = [];
  /** World position under the pointer. */
  pointer: { x: number; y: number } | undefined;

  /** @throws {Error} with a sentence, if the browser cannot draw */
  constructor(scan: ViewedScan, canvas: HTMLCanvasElement) {
    this.scan = scan;
    this.#asked = decodeView(location.hash);
    addEventListener("hashchange", this.#follow);
    this.scene = new Scene(canvas, {
      onDraw: () => this.#drawn(),
      onError: (message) => this.addError(message),
    });
  }

  /** @param kind `change`: what is shown or how; `frame`: also each drawn frame and each move of the pointer */
  subscribe(kind: "change" | "frame", listener: () => void): () => void {
    this.#listeners[kind].add(listener);
    return () => void this.#listeners[kind].delete(listener);
  }

  /** Opens image and run. Errors become sentences of the page. */
  async open(): Promise<void> {
    const { scan } = this;
    const opened = await Promise.all([
      scan.image === undefined ? undefined : this.#openImage(scan.image),
      scan.run === undefined ? this.#showRunning(scan) : this.#openRun(scan.run),
    ]).then(
      () => true,
      (error: Error) => {
        this.addError(error.message);
        return false;
      },
    );
    this.scene.isOpening = false;
    if (opened) applyView(this, this.#asked);
    this.scene.requestDraw();
    this.#changed();
  }

  /** Shows labels that were merged meanwhile, or the finished run of the same image. */
  async update(scan: ViewedScan): Promise<void> {
    const before = this.scan;
    this.scan = scan;
    try {
      if (scan.run !== undefined && before.run === undefined) {
        await this.#openRun(scan.run);
        if (this.#asked.objectsHidden) this.objects?.setVisible(false);
      } else if (scan.run === undefined) await this.#showRunning(scan);
    } catch (error) {
      if ((error as Error).name !== "AbortError") this.addError((error as Error).message);
    }
    this.#redraw();
  }

  get isLoading(): boolean {
    return this.scene.isOpening;
  }

  addError(message: string): void {
    if (this.errors.at(-1) !== message) this.errors = [...this.errors.slice(-4), message];
    this.#changed();
  }

  clearErrors(): void {
    this.errors = [];
    this.#changed();
  }

  get report(): ImageReport | undefined {
    return this.image?.report;
  }

  /** Micrometres per level-0 pixel, `[y, x]`: of the run, which the user may have given, else of the file. */
  get mpp(): readonly [number, number] | undefined {
    const run = this.manifest?.source.mpp.slice(-2) as [number, number] | undefined;
    return run ?? this.report?.mpp ?? undefined;
  }

  /** Slices of a volume; 1 for an image. */
  get slices(): number {
    const shape = this.report?.shape ?? this.labels?.info.shape ?? [];
    return shape.length === 3 ? shape[0]! : 1;
  }

  setChannel(index: number, look: Partial<ChannelLook>): void {
    this.scene.channels = this.scene.channels.map((old, i) => (i === index ? { ...old, ...look } : old));
    this.#redraw();
  }

  setLabels(look: Partial<LabelLook>): void {
    this.scene.labelLook = { ...this.scene.labelLook, ...look };
    if (look.classes && this.other) this.#matchOtherClasses(this.other);
    this.#redraw();
  }

  setClassVisible(index: number, visible: boolean): void {
    const classes = this.scene.labelLook.classes.map((c, i) => (i === index ? { ...c, visible } : c));
    this.setLabels({ classes });
  }

  /** Classes of the other run that have the name of a hidden one are hidden, too. */
  #matchOtherClasses({ labels }: OtherRun): void {
    const { labelLook, otherClasses } = this.scene;
    const hidden = this.labels!.info.classes.filter((_, i) => labelLook.classes[i]?.visible === false);
    const names = new Set(hidden.map(({ name }) => name));
    this.scene.otherClasses = otherClasses.map((look, i) => ({
      ...look,
      visible: !names.has(labels.info.classes[i]!.name),
    }));
  }

  /** @param part of the width that shows the first run, 0 to 1 */
  setSwipe(part: number): void {
    this.scene.swipe = Math.min(1, Math.max(0, part));
    this.#redraw();
  }

  /** Hides the labels, or shows them as they were. */
  toggleLabels(): void {
    const { opacity } = this.scene.labelLook;
    if (opacity > 0) this.#lastOpacity = opacity;
    this.setLabels({ opacity: opacity > 0 ? 0 : this.#lastOpacity });
  }

  /** Contrast of the first channel in stored samples. */
  get storedContrast(): SampleRange | undefined {
    const [look] = this.scene.channels;
    if (this.image === undefined || look === undefined) return undefined;
    const { low, high } = this.image.range;
    return { low: low + look.low * (high - low), high: low + look.high * (high - low) };
  }

  setShows(shows: "slice" | "planes"): void {
    this.shows = shows;
    this.#redraw();
  }

  /** Remembers where the planes meet, for links. */
  setCrosshair(mm: readonly [number, number, number]): void {
    this.crosshair = mm;
    this.#keepLink();
  }

  setSlice(slice: number): void {
    this.scene.setSlice(Math.min(this.slices - 1, Math.max(0, Math.round(slice))));
    this.#redraw();
  }

  moveTo(camera: Camera): void {
    this.scene.moveTo(camera);
    this.#keepLink();
  }

  /** Moves by a part of the visible width and height. */
  moveBy(partX: number, partY: number): void {
    const { camera, screen } = this.scene;
    const dx = (partX * screen.width) / camera.scale;
    const dy = (partY * screen.height) / camera.scale;
    this.moveTo({ ...camera, x: camera.x + dx, y: camera.y + dy });
  }

  /** Zooms around a screen position in device pixels; by default around the centre. */
  zoom(factor: number, at?: { x: number; y: number }): void {
    const { camera, screen } = this.scene;
    const limited = Math.min(factor, MAX_SCALE / camera.scale);
    const { x, y } = at ?? { x: screen.width / 2, y: screen.height / 2 };
    this.moveTo(zoomAt(camera, screen, limited, x, y));
  }

  /** One level-0 pixel on one device pixel. */
  zoomToPixels(): void {
    this.moveTo({ ...this.scene.camera, scale: 1 });
  }

  fit(): void {
    this.moveTo(fitCamera(this.scene.world, this.scene.screen));
  }

  /** Selects the object at a world position, or none. */
  selectAt({ x, y }: { x: number; y: number }): void {
    void this.objects?.select(this.objects.layer.find(x, y));
    this.#keepLink();
  }

  clearSelection(): void {
    void this.objects?.select(undefined);
    this.#keepLink();
  }

  /** The canvas that the page shows. */
  shownCanvas = (): HTMLCanvasElement => this.scene.canvas;

  /** Saves the drawn picture as a PNG file. */
  async savePicture(): Promise<void> {
    const problem = await savePicture(this.shownCanvas(), this.scene.camera, this.scan.name);
    if (problem !== undefined) this.addError(problem);
  }

  setPointer(world: { x: number; y: number } | undefined): void {
    this.pointer = world;
    this.objects?.hover(world);
    this.#drawn();
  }

  /** The address of the current view, without any credential. */
  get link(): string {
    return `${location.origin}${location.pathname}${location.search}#${encodeView(currentView(this, this.#asked))}`;
  }

  /** The address was changed by hand, or by a link to this page. */
  readonly #follow = () => {
    clearTimeout(this.#linkTimer);
    this.#asked = decodeView(location.hash);
    // A page that still opens applies it when it has.
    if (!this.isLoading) followView(this, this.#asked);
  };

  close(): void {
    clearTimeout(this.#linkTimer);
    removeEventListener("hashchange", this.#follow);
    this.scene.close();
    for (const client of this.#clients) client.close();
    this.#listeners.change.clear();
    this.#listeners.frame.clear();
  }

  async #openImage(address: PlacedKey): Promise<void> {
    const client = this.#client(address);
    const image = await client.opened;
    this.image = image;
    this.imageClient = client;
    const { channels, dtype } = image.report;
    this.scene.isColor = dtype === "uint8" && channels.length === 3;
    this.scene.channels = firstChannelLooks(image);
    if (this.slices > 1) this.scene.setSlice(this.#asked.slice ?? Math.floor(this.slices / 2));
    this.scene.setImage(image, client);
    if (this.#asked.camera === undefined) this.scene.fit();
    this.#changed();
  }

  async #openRun(run: NonNullable<ViewedScan["run"]>): Promise<void> {
    const store = openPlace(run.place);
    const stored = await store.get(`${run.key}/run.json`);
    if (stored === undefined) throw new Error(`${run.key} has no run.json: the run is not finished`);
    this.manifest = JSON.parse(new TextDecoder().decode(stored.bytes)) as RunManifest;
    const key = `${run.key}/labels.ome.zarr`;
    const labels = await readLabelMap(store, key);
    if (labels === undefined)
      return this.addError(`${run.key} has no labels.ome.zarr, which the viewer shows; run with that output`);
    this.#setLabels(labels);
    const client = this.#client({ key, place: run.place });
    await client.opened;
    this.labelClient = client;
    this.scene.setLabels(finishedLayer(labels, client));
    if (this.image === undefined && this.scan.image === undefined) this.#showLabelsAlone(labels);
    if (labels.axes === "yx") await this.#openObjects(run);
    if (this.scan.otherRun) await this.#openOther(this.scan.otherRun);
  }

  async #openOther(run: PlacedKey): Promise<void> {
    this.other = await openOtherRun(run, this.manifest!);
    const { labels, client } = this.other;
    this.#clients.push(client);
    this.scene.otherClasses = labels.info.classes.map(({ color }) => ({ color, visible: true }));
    this.scene.swipe = this.#asked.swipe ?? 0.5;
    this.#matchOtherClasses(this.other);
    this.scene.setOtherLabels(finishedLayer(labels, client));
  }

  /** Shows what has been merged of a running job. */
  async #showRunning({ running }: ViewedScan): Promise<void> {
    const isFirst = running !== undefined && this.labels === undefined;
    const changed = await running?.update();
    const labels = running?.labels;
    if (running === undefined || labels === undefined || this.scan.run !== undefined) return;
    if (isFirst && this.labels === undefined) {
      this.#setLabels(labels);
      this.scene.setLabels(runningLayer(labels, running));
      if (this.image === undefined && this.scan.image === undefined) this.#showLabelsAlone(labels);
      this.#changed();
    } else this.scene.refreshLabels(changed ?? []);
  }

  /** Labels of the finished run look like those that were shown before; the first look as the link says. */
  #setLabels(labels: LabelMap): void {
    const isFirst = this.labels === undefined;
    this.labels = labels;
    const { labelLook } = this.scene;
    const isVisible = (i: number) => labelLook.classes[i]?.visible ?? true;
    const classes = labels.info.classes.map(({ color }, i) => ({ color, visible: isVisible(i) }));
    this.scene.labelLook = { ...labelLook, classes };
    if (isFirst) applyLabelView(this, this.#asked);
  }

  async #openObjects(run: NonNullable<ViewedScan["run"]>): Promise<void> {
    this.objects = await ObjectModel.open(
      this.scene,
      { key: `${run.key}/objects.parquet`, place: run.place },
      { onChange: () => this.#redraw(), onError: (message) => this.addError(message) },
    );
    if (this.objects) this.scene.setOverlay(this.objects.layer);
  }

  /** Without an image the labels' own place is the world. */
  #showLabelsAlone({ pyramid, info }: LabelMap): void {
    const { width, height, stepX, stepY } = pyramid.levels[0]!;
    const { originX: x0, originY: y0 } = pyramid;
    this.scene.world = { x0, y0, x1: x0 + width * stepX, y1: y0 + height * stepY };
    if (info.axes === "zyx") this.scene.setSlice(Math.floor(info.shape[0]! / 2));
    this.setLabels({ opacity: 1 });
    this.scene.fit();
  }

  #client(address: PlacedKey): ImageClient {
    const client = new ImageClient(address);
    this.#clients.push(client);
    return client;
  }

  #redraw(): void {
    this.scene.requestDraw();
    this.#keepLink();
    this.#changed();
  }

  /** While the picture is held with the mouse or a finger, the address does not follow: writing it stops the page for milliseconds. */
  setHeld(isHeld: boolean): void {
    this.#isHeld = isHeld;
    this.#keepLink();
  }

  /** Browsers allow a hundred changes of the address in half a minute. */
  #keepLink(): void {
    clearTimeout(this.#linkTimer);
    if (this.#isHeld) return;
    this.#linkTimer = setTimeout(
      () => history.replaceState(null, "", `#${encodeView(currentView(this, this.#asked))}`),
      400,
    );
  }

  #changed(): void {
    for (const listener of this.#listeners.change) listener();
    this.#drawn();
  }

  #drawn(): void {
    for (const listener of this.#listeners.frame) listener();
  }
}
