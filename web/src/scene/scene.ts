import { type Bounds, type Camera, clampCamera, fitCamera, type Size } from "../data/camera.ts";
import type { ImageClient } from "../data/image-client.ts";
import type { OpenedImage } from "../data/image-messages.ts";
import { chooseTileSide, samplesToWorld, type TilePyramid, tileSamples } from "../data/tile-pyramid.ts";
import { createUnitSquare } from "./gl-program.ts";
import { type ChannelLook, ImageProgram, type ImageTexture, MAX_SHOWN_CHANNELS } from "./image-program.ts";
import { type LabelLayerInput, sampleRegion } from "./label-layer.ts";
import { type LabelLook, LabelProgram, type LabelTexture } from "./label-program.ts";
import { TileLayer } from "./tile-layer.ts";

const MIB = 2 ** 20;
const IMAGE_BYTES = 320 * MIB;
const LABEL_BYTES = 96 * MIB;

/** Something that is drawn above the labels. */
export interface SceneOverlay {
  /** Parts that are wanted and not there yet. */
  readonly pending: number;
  draw(camera: Camera, screen: Size): void;
  close(): void;
}

export interface SceneEvents {
  /** After each drawn frame. */
  onDraw(): void;
  /** A sentence: something of the picture could not be read. */
  onError(message: string): void;
}

/**
 * The picture: image, labels and an overlay on one WebGL canvas. It is drawn when something has changed, and loads the
 * tiles that the current view needs.
 */
export class Scene {
  readonly canvas: HTMLCanvasElement;
  readonly gl: WebGL2RenderingContext;
  readonly #events: SceneEvents;
  readonly #square: WebGLVertexArrayObject;
  readonly #imageProgram: ImageProgram;
  readonly #labelProgram: LabelProgram;
  #image: TileLayer<ImageTexture> | undefined;
  #labels: TileLayer<LabelTexture> | undefined;
  #otherLabels: TileLayer<LabelTexture> | undefined;
  #overlay: SceneOverlay | undefined;
  #camera: Camera = { x: 0, y: 0, scale: 1 };
  #slice = 0;
  #frame = 0;
  world: Bounds = { x0: 0, y0: 0, x1: 1, y1: 1 };
  channels: readonly ChannelLook[] = [];
  labelLook: LabelLook = { opacity: 0.5, style: "fill", classes: [] };
  /** Classes of the labels that are compared with; opacity and style are those of `labelLook`. */
  otherClasses: LabelLook["classes"] = [];
  /** Part of the picture's width on which the first labels are shown; the others are on the rest. */
  swipe = 0.5;

  /** @throws {Error} with a sentence, if the browser has no WebGL 2 */
  constructor(canvas: HTMLCanvasElement, events: SceneEvents) {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, preserveDrawingBuffer: true });
    if (gl === null)
      throw new Error("this browser has no WebGL 2, which the viewer draws with; use a current browser");
    this.canvas = canvas;
    this.gl = gl;
    this.#events = events;
    // Half-precision textures get smaller copies of themselves only with one of these.
    if (gl.getExtension("EXT_color_buffer_half_float") === null) gl.getExtension("EXT_color_buffer_float");
    this.#square = createUnitSquare(gl);
    this.#imageProgram = new ImageProgram(gl);
    this.#labelProgram = new LabelProgram(gl);
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      events.onError("the graphics card was reset; reload the page");
    });
  }

  get screen(): Size {
    return { width: this.canvas.width, height: this.canvas.height };
  }

  get camera(): Camera {
    return this.#camera;
  }

  moveTo(camera: Camera): void {
    this.#camera = clampCamera(camera, this.world, this.screen);
    this.requestDraw();
  }

  fit(): void {
    this.moveTo(fitCamera(this.world, this.screen));
  }

  /** Set until all that is to be shown has been opened. */
  isOpening = true;

  /** Tiles that the current view still waits for. */
  get pending(): number {
    const labels = this.#labels !== undefined && this.labelLook.opacity > 0 ? this.#labels.tiles.pending : 0;
    const others =
      this.#otherLabels !== undefined && this.labelLook.opacity > 0 ? this.#otherLabels.tiles.pending : 0;
    return (this.#image?.tiles.pending ?? 0) + labels + others + (this.#overlay?.pending ?? 0);
  }

  /** Whether the view shows too many tiles of an image without smaller levels. */
  get isIncomplete(): boolean {
    return this.#image?.isIncomplete ?? false;
  }

  get slice(): number {
    return this.#slice;
  }

  /** Shows another slice of a volume. */
  setSlice(slice: number): void {
    this.#slice = slice;
    this.#image?.tiles.setVariant(String(slice));
    this.#labels?.tiles.setVariant(String(slice));
    this.#otherLabels?.tiles.setVariant(String(slice));
    this.requestDraw();
  }

  setImage(opened: OpenedImage, client: ImageClient): void {
    const { levels } = opened.report;
    const [height, width] = opened.report.shape.slice(-2) as [number, number];
    this.world = { x0: 0, y0: 0, x1: width, y1: height };
    const pyramid: TilePyramid = {
      originX: 0,
      originY: 0,
      levels: levels.map(({ shape, downsample, chunk }, i) => ({
        width: shape.at(-1)!,
        height: shape.at(-2)!,
        stepX: downsample.at(-1)!,
        stepY: downsample.at(-2)!,
        tile: chooseTileSide(shape, chunk, i === levels.length - 1),
      })),
    };
    this.#image?.close();
    this.#image = this.#layer({
      pyramid,
      load: async (tile, signal) => {
        const box = tileSamples(pyramid, tile);
        const { channels, data } = await client.read(
          {
            level: tile.level,
            ...sampleRegion(opened.report.axes, box, this.#slice),
            form: "planes",
            range: opened.range,
            maxChannels: MAX_SHOWN_CHANNELS,
          },
          signal,
        );
        const size = { width: box.x1 - box.x0, height: box.y1 - box.y0 };
        const value = this.#imageProgram.upload({ ...size, channels, data });
        // Smaller copies take a third more.
        return { value, byteLength: Math.ceil(data.byteLength * 1.34) };
      },
      maxBytes: IMAGE_BYTES,
      concurrency: client.concurrency,
      slack: 1.4,
    });
    this.requestDraw();
  }

  setLabels(input: LabelLayerInput): void {
    this.#labels?.close();
    this.#labels = this.#labelLayer(input);
    this.requestDraw();
  }

  /** Labels of another run, right of `swipe`. */
  setOtherLabels(input: LabelLayerInput): void {
    this.#otherLabels?.close();
    this.#otherLabels = this.#labelLayer(input);
    this.requestDraw();
  }

  #labelLayer({ pyramid, read, concurrency, slack }: LabelLayerInput): TileLayer<LabelTexture> {
    return this.#layer<LabelTexture>({
      pyramid,
      load: async (tile, signal) => {
        const grid = pyramid.levels[tile.level]!;
        const inner = tileSamples(pyramid, tile);
        const box = {
          x0: Math.max(0, inner.x0 - 1),
          y0: Math.max(0, inner.y0 - 1),
          x1: Math.min(grid.width, inner.x1 + 1),
          y1: Math.min(grid.height, inner.y1 + 1),
        };
        const framed = addBorder(await read(tile.level, box, this.#slice, signal), box, inner);
        return { value: this.#labelProgram.upload(framed), byteLength: framed.data.length };
      },
      maxBytes: LABEL_BYTES,
      concurrency,
      slack: slack ?? 1,
    });
  }

  /** Reads labels again where they have changed. @param boxes in world coordinates */
  refreshLabels(boxes: readonly Bounds[]): void {
    if (this.#labels === undefined) return;
    const { pyramid, tiles } = this.#labels;
    tiles.refresh((tile) => {
      const { x0, y0, x1, y1 } = samplesToWorld(pyramid, tile.level, tileSamples(pyramid, tile));
      // A tile has a border of one sample.
      const { stepX, stepY } = pyramid.levels[tile.level]!;
      return boxes.some(
        (box) => box.x0 < x1 + stepX && box.x1 > x0 - stepX && box.y0 < y1 + stepY && box.y1 > y0 - stepY,
      );
    });
  }

  setOverlay(overlay: SceneOverlay | undefined): void {
    this.#overlay?.close();
    this.#overlay = overlay;
    this.requestDraw();
  }

  /** Sets the size of the drawing in device pixels. */
  resize({ width, height }: Size): void {
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = Math.max(1, width);
    this.canvas.height = Math.max(1, height);
    this.moveTo(this.#camera);
  }

  requestDraw(): void {
    this.canvas.dataset.ready = "false";
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  close(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = -1;
    this.#image?.close();
    this.#labels?.close();
    this.#otherLabels?.close();
    this.#overlay?.close();
  }

  #layer<T extends { texture: WebGLTexture }>(
    options: Pick<
      ConstructorParameters<typeof TileLayer<T>>[0],
      "pyramid" | "load" | "maxBytes" | "concurrency" | "slack"
    >,
  ): TileLayer<T> {
    const layer = new TileLayer<T>({
      ...options,
      dispose: ({ texture }) => this.gl.deleteTexture(texture),
      onChange: (error) => {
        if (error !== undefined) this.#events.onError((error as Error).message);
        this.requestDraw();
      },
    });
    layer.tiles.setVariant(String(this.#slice));
    return layer;
  }

  #draw(): void {
    this.#frame = 0;
    const { gl } = this;
    const screen = this.screen;
    const viewport = [screen.width, screen.height] as const;
    gl.viewport(0, 0, screen.width, screen.height);
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(...this.#background(), 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.bindVertexArray(this.#square);
    if (this.#image !== undefined) {
      this.#imageProgram.begin(viewport, this.channels);
      this.#image.draw(gl, this.#camera, screen, (...tile) => this.#imageProgram.draw(...tile));
    }
    const edge = this.#otherLabels ? Math.round(this.swipe * screen.width) : screen.width;
    const drawLabels = (
      layer: TileLayer<LabelTexture> | undefined,
      look: LabelLook,
      x0: number,
      x1: number,
    ) => {
      if (layer === undefined || look.opacity === 0) return;
      this.#labelProgram.begin(viewport, look);
      layer.draw(gl, this.#camera, screen, (...tile) => this.#labelProgram.draw(...tile), { x0, x1 });
    };
    drawLabels(this.#labels, this.labelLook, 0, edge);
    const otherLook = { ...this.labelLook, classes: this.otherClasses };
    drawLabels(this.#otherLabels, otherLook, edge, screen.width);
    if (this.#otherLabels) {
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(0, 0, edge, screen.height);
    }
    this.#overlay?.draw(this.#camera, screen);
    if (this.#otherLabels) this.#drawSwipe(edge);
    gl.disable(gl.SCISSOR_TEST);
    gl.bindVertexArray(null);
    this.canvas.dataset.ready = String(this.pending === 0 && !this.isOpening);
    this.#events.onDraw();
  }

  /** A line between the two runs. */
  #drawSwipe(edge: number): void {
    const { gl } = this;
    for (const [x, width, grey] of [
      [edge - 2, 4, 1],
      [edge - 1, 2, 0],
    ] as const) {
      gl.scissor(Math.max(0, x), 0, width, this.screen.height);
      gl.clearColor(grey, grey, grey, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
    }
  }

  /** Slides on glass stand on white, anything else on black. */
  #background(): [number, number, number] {
    return this.isColor ? [0.94, 0.94, 0.94] : [0, 0, 0];
  }

  isColor = true;
}

/** Labels of a tile with a border on all four sides; where the map ends, its edge is repeated. */
function addBorder(data: Uint8Array<ArrayBuffer>, box: Bounds, inner: Bounds) {
  const width = inner.x1 - inner.x0 + 2;
  const height = inner.y1 - inner.y0 + 2;
  const read = box.x1 - box.x0;
  if (read === width && box.y1 - box.y0 === height) return { width, height, data };
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = (Math.min(box.y1 - 1, Math.max(box.y0, inner.y0 - 1 + y)) - box.y0) * read;
    for (let x = 0; x < width; x++) {
      const column = Math.min(box.x1 - 1, Math.max(box.x0, inner.x0 - 1 + x)) - box.x0;
      out[y * width + x] = data[from + column]!;
    }
  }
  return { width, height, data: out };
}
