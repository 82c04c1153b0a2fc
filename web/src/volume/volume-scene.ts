import { DRAG_MODE, Niivue, type NVImage, SLICE_TYPE } from "@niivue/niivue";
import { rgbFractions } from "../scene/image-program.ts";
import type { LabelLook } from "../scene/label-program.ts";

/** Axial, coronal and sagittal plane, and the rendering: a quarter of the canvas each. */
const LAYOUT = [
  { sliceType: SLICE_TYPE.AXIAL, position: [0, 0, 0.5, 0.5] },
  { sliceType: SLICE_TYPE.CORONAL, position: [0.5, 0, 0.5, 0.5] },
  { sliceType: SLICE_TYPE.SAGITTAL, position: [0, 0.5, 0.5, 0.5] },
  { sliceType: SLICE_TYPE.RENDER, position: [0.5, 0.5, 0.5, 0.5] },
] as { sliceType: SLICE_TYPE; position: [number, number, number, number] }[];

/**
 * niivue under the page's policy. Its pictures (letters, shading) are data addresses, which the policy forbids because a
 * file's content could become one; the same bytes as blobs are the page's own.
 */
class ContainedNiivue extends Niivue {
  override async loadPngAsTexture(url: string, unit: number): Promise<WebGLTexture | null> {
    const match = /^data:(image\/\w+);base64,(.*)$/s.exec(url);
    if (!match) throw new Error(`${url.slice(0, 40)} is not a picture of the viewer's own`);
    const bytes = Uint8Array.from(atob(match[2]!), (c) => c.charCodeAt(0));
    const address = URL.createObjectURL(new Blob([bytes], { type: match[1] }));
    try {
      return await super.loadPngAsTexture(address, unit);
    } finally {
      URL.revokeObjectURL(address);
    }
  }
}

export interface VolumeSceneOptions {
  /** NIfTI files in memory. Without an image the labels stand alone. */
  image?: ArrayBuffer;
  labels?: ArrayBuffer;
  /** Whether the directions of the axes are known: else no letters are shown. */
  isOriented: boolean;
  onCrosshair(mm: readonly [number, number, number]): void;
}

/** Three planes through a point, and a rendering of the volume with its labels. */
export class VolumeScene {
  readonly #niivue: ContainedNiivue;
  readonly #canvas: HTMLCanvasElement;
  readonly #image: NVImage | undefined;
  readonly #labels: NVImage | undefined;
  /** Labels before some were taken away. */
  #allLabels: Uint8Array | undefined;

  private constructor(
    niivue: ContainedNiivue,
    canvas: HTMLCanvasElement,
    image: NVImage | undefined,
    labels: NVImage | undefined,
  ) {
    this.#niivue = niivue;
    this.#canvas = canvas;
    this.#image = image;
    this.#labels = labels;
  }

  static async open(canvas: HTMLCanvasElement, options: VolumeSceneOptions): Promise<VolumeScene> {
    // The first request of a context decides: the picture must stay readable, so that it can be saved.
    canvas.getContext("webgl2", { alpha: false, antialias: true, preserveDrawingBuffer: true });
    const niivue = new ContainedNiivue({
      dragAndDropEnabled: false,
      logLevel: "error",
      loadingText: "",
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.95, 0.35, 0.1, 0.9],
      crosshairWidth: 1,
      crosshairGap: 6,
      crosshairWidthUnit: "percent",
      fontColor: [0.9, 0.9, 0.9, 1],
      isOrientationTextVisible: options.isOriented,
      showAllOrientationMarkers: true,
      isRadiologicalConvention: true,
      dragMode: DRAG_MODE.contrast,
      // Samples are shown as they are, like those of a slice.
      isNearestInterpolation: true,
      // One letter key must not change what the page shows.
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      viewModeHotKey: "",
    });
    await niivue.attachToCanvas(canvas, true);
    niivue.setCustomLayout(LAYOUT);
    const add = async (file: ArrayBuffer, name: string) => {
      await niivue.loadFromArrayBuffer(file, name);
      return niivue.volumes.at(-1)!;
    };
    const image = options.image && (await add(options.image, "image.nii"));
    const labels = options.labels && (await add(options.labels, "labels.nii"));
    niivue.onLocationChange = (place) => {
      const [x, y, z] = (place as { mm: ArrayLike<number> }).mm as unknown as [number, number, number];
      options.onCrosshair([x, y, z]);
    };
    return new VolumeScene(niivue, canvas, image, labels);
  }

  /** @param low stored sample that becomes black @param high stored sample that becomes white */
  setContrast(low: number, high: number): void {
    if (this.#image === undefined) return;
    this.#image.cal_min = low;
    this.#image.cal_max = high;
    this.#redraw();
  }

  setLabels({ opacity, style, classes }: LabelLook): void {
    if (this.#labels === undefined) return;
    const isOutline = style === "outline";
    const channel = (c: number) => classes.map(({ color }) => Math.round(rgbFractions(color)[c]! * 255));
    this.#labels.setColormapLabel({
      R: channel(0),
      G: channel(1),
      B: channel(2),
      // niivue gives borders an opacity of their own, whatever that of their class.
      A: classes.map(({ visible }, i) => (visible && i > 0 && !isOutline ? 255 : 0)),
      I: classes.map((_, i) => i),
    });
    this.#niivue.opts.atlasOutline = isOutline ? opacity : 0;
    this.#labels.opacity = isOutline ? 1 : opacity;
    this.#hide(isOutline ? classes.map(({ visible }) => visible) : []);
    this.#redraw();
  }

  setRadiological(isRadiological: boolean): void {
    this.#niivue.setRadiologicalConvention(isRadiological);
    this.#niivue.drawScene();
    this.#tellReady();
  }

  /** The point that all three planes cut, in millimetres, RAS+. */
  get crosshair(): [number, number, number] {
    const [x, y, z] = this.#niivue.frac2mm(this.#niivue.scene.crosshairPos) as unknown as [
      number,
      number,
      number,
    ];
    return [x, y, z];
  }

  set crosshair(mm: readonly [number, number, number]) {
    this.#niivue.scene.crosshairPos = this.#niivue.mm2frac([...mm]);
    this.#niivue.drawScene();
    this.#niivue.createOnLocationChange();
    this.#tellReady();
  }

  /** Smallest and largest position in millimetres, by axis. */
  get extent(): { low: [number, number, number]; high: [number, number, number] } {
    const at = (part: number) => this.#niivue.frac2mm([part, part, part]);
    const [a, b] = [at(0), at(1)];
    const sides = [0, 1, 2].map((axis) => [a[axis]!, b[axis]!].sort((p, q) => p - q) as [number, number]);
    return {
      low: sides.map(([low]) => low) as [number, number, number],
      high: sides.map(([, high]) => high) as [number, number, number],
    };
  }

  /** Gives the memory of the graphics card back. */
  close(): void {
    this.#niivue.cleanup();
    this.#canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** Takes the labels of classes away, or all of them back. */
  #hide(visible: readonly boolean[]): void {
    const samples = this.#labels!.img as Uint8Array;
    if (visible.every(Boolean)) {
      if (this.#allLabels) samples.set(this.#allLabels);
      this.#allLabels = undefined;
      return;
    }
    this.#allLabels ??= samples.slice();
    for (let i = 0; i < samples.length; i++) {
      const label = this.#allLabels[i]!;
      samples[i] = visible[label] ? label : 0;
    }
  }

  #redraw(): void {
    this.#niivue.updateGLVolume();
    this.#niivue.drawScene();
    this.#tellReady();
  }

  #tellReady(): void {
    this.#canvas.dataset.ready = "true";
  }
}
