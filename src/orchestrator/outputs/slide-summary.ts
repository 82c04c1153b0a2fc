import type { LabelMapInfo } from "../../image/label-sink.ts";
import type { MeasuredObject } from "./measured-object.ts";
import type { ObjectKinds } from "./object-kinds.ts";
import type { Placement } from "./placement.ts";

/** Pixels of one class of the label map. */
export interface ClassSummary {
  name: string;
  /** Label samples. */
  pixels: number;
  areaUm2: number | undefined;
  /** Share of the analysed samples. */
  fraction: number | undefined;
}

/** Objects of one kind. */
export interface ObjectSummary {
  name: string;
  count: number;
  /** Per mm² of analysed area. */
  densityPerMm2: number | undefined;
  meanAreaUm2: number | undefined;
  medianAreaUm2: number | undefined;
}

export interface SlideSummary {
  analysedPixels: number;
  analysedAreaUm2: number | undefined;
  classes: ClassSummary[];
  objects: ObjectSummary[];
}

/** Counts classes and objects. Areas are kept as a histogram of pixel counts: the median is exact, the memory small. */
export class SlideCounter {
  readonly #info: LabelMapInfo;
  readonly #kinds: ObjectKinds;
  readonly #placement: Placement;
  readonly #pixels = new Float64Array(256);
  readonly #areas = new Map<number, Map<number, number>>();

  constructor(info: LabelMapInfo, kinds: ObjectKinds, placement: Placement) {
    this.#info = info;
    this.#kinds = kinds;
    this.#placement = placement;
    for (const kind of kinds.kinds.keys()) this.#areas.set(kind, new Map());
  }

  /** Counts class indices; samples that are never counted are background. */
  countPixels(data: Uint8Array): void {
    // In integers: counting in float64 takes twice as long.
    const pixels = new Uint32Array(256);
    for (let i = 0; i < data.length; i++) pixels[data[i]!]!++;
    for (let c = 0; c < 256; c++) this.#pixels[c]! += pixels[c]!;
  }

  countObject({ runs }: MeasuredObject): void {
    const areas = this.#areas.get(runs.kind)!;
    areas.set(runs.area, (areas.get(runs.area) ?? 0) + 1);
  }

  /** @param analysedPixels segmented label samples, the denominator of fractions and densities */
  summary(analysedPixels: number): SlideSummary {
    const { sample, sourceSpacing } = this.#placement;
    const unitArea = sourceSpacing === undefined ? undefined : sample.x * sample.y;
    const area = (pixels: number | undefined) =>
      unitArea === undefined || pixels === undefined ? undefined : pixels * unitArea;
    const labelled = this.#info.classes.reduce((n, _, i) => (i === 0 ? 0 : n + this.#pixels[i]!), 0);
    const classes = this.#info.classes.map(({ name }, i) => {
      const pixels = i === 0 ? Math.max(0, analysedPixels - labelled) : this.#pixels[i]!;
      return {
        name,
        pixels,
        areaUm2: area(pixels),
        fraction: analysedPixels > 0 ? pixels / analysedPixels : undefined,
      };
    });
    const analysedAreaUm2 = area(analysedPixels);
    const objects = [...this.#kinds.kinds].map(([kind, { name }]) => {
      const { count, mean, median } = distribution(this.#areas.get(kind)!);
      return {
        name,
        count,
        densityPerMm2: analysedAreaUm2 ? count / (analysedAreaUm2 / 1e6) : undefined,
        meanAreaUm2: area(mean),
        medianAreaUm2: area(median),
      };
    });
    return { analysedPixels, analysedAreaUm2, classes, objects };
  }
}

function distribution(histogram: ReadonlyMap<number, number>): {
  count: number;
  mean: number | undefined;
  median: number | undefined;
} {
  let count = 0;
  let sum = 0;
  for (const [area, n] of histogram) {
    count += n;
    sum += area * n;
  }
  if (count === 0) return { count, mean: undefined, median: undefined };
  const sorted = [...histogram].sort((a, b) => a[0] - b[0]);
  const at = (rank: number) => {
    let seen = 0;
    for (const [area, n] of sorted) {
      seen += n;
      if (rank < seen) return area;
    }
    throw new RangeError(`rank ${rank} of ${count}`);
  };
  return { count, mean: sum / count, median: (at((count - 1) >> 1) + at(count >> 1)) / 2 };
}
