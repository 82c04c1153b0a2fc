import { ObjectClient } from "../data/object-client.ts";
import type { ObjectDetails, OpenedObjects } from "../data/object-messages.ts";
import type { PlacedKey } from "../data/place.ts";
import { ObjectLayer, type ObjectPlace } from "../scene/object-layer.ts";
import type { Scene } from "../scene/scene.ts";
import { type MeasurementHistogram, makeHistogram } from "./histogram.ts";

export const HISTOGRAM_BINS = 64;
/** Rows of the table. */
const TABLE_ROWS = 50;
/** Groups read at the same time for a histogram. */
const MAX_READS = 4;
/** Part of the picture's height that a selected object fills. */
const SELECTED_PART = 0.15;

export interface TableRow {
  place: ObjectPlace;
  number: number;
  value: number;
}

interface Column {
  name: string;
  /** By group. */
  parts: Float32Array[];
  histogram: MeasurementHistogram;
}

/** Objects of a run: which are shown, which is selected, and how their measurements are distributed. */
export class ObjectModel {
  readonly layer: ObjectLayer;
  readonly #client: ObjectClient;
  readonly #scene: Scene;
  readonly #onChange: () => void;
  readonly #onError: (message: string) => void;
  /** The measurement that is being read. */
  #loading: object | undefined;
  selected: (ObjectPlace & { details?: ObjectDetails }) | undefined;
  hovered: ObjectPlace | undefined;
  column: Column | undefined;
  /** Share of the groups whose values have been read. */
  progress: number | undefined;
  range: readonly [number, number] | undefined;
  isAscending = false;

  private constructor(
    scene: Scene,
    client: ObjectClient,
    opened: OpenedObjects,
    callbacks: { onChange: () => void; onError: (message: string) => void },
  ) {
    this.#scene = scene;
    this.#client = client;
    this.#onChange = callbacks.onChange;
    this.#onError = callbacks.onError;
    this.layer = new ObjectLayer(scene.gl, client, opened, (error) => {
      if (error) callbacks.onError(error.message);
      scene.requestDraw();
    });
  }

  /** Undefined if the run wrote no object table. */
  static async open(
    scene: Scene,
    address: PlacedKey,
    callbacks: { onChange: () => void; onError: (message: string) => void },
  ): Promise<ObjectModel | undefined> {
    const client = new ObjectClient();
    const opened = await client.ask({ kind: "open", address });
    if (opened === undefined) {
      client.close();
      return undefined;
    }
    return new ObjectModel(scene, client, opened, callbacks);
  }

  get count(): number {
    return this.layer.opened.groups.reduce((sum, { count }) => sum + count, 0);
  }

  /** The object under the pointer, in words. */
  get hoveredText(): string | undefined {
    const marks = this.hovered && this.layer.marks(this.hovered.group);
    if (marks === undefined) return undefined;
    const { index } = this.hovered!;
    return `${this.layer.opened.classes[marks.classes[index]!]?.name ?? "object"} ${marks.numbers[index]}`;
  }

  setVisible(isVisible: boolean): void {
    this.layer.isVisible = isVisible;
    this.#changed();
  }

  setClassVisible(index: number, isVisible: boolean): void {
    const hidden = new Set(this.layer.hiddenClasses);
    if (isVisible) hidden.delete(index);
    else hidden.add(index);
    this.layer.setHiddenClasses(hidden);
    this.#changed();
  }

  /** Marks the object under the pointer. */
  hover(world: { x: number; y: number } | undefined): void {
    const found = world && this.layer.find(world.x, world.y);
    if (found?.group === this.hovered?.group && found?.index === this.hovered?.index) return;
    this.hovered = found;
    this.#mark();
  }

  async select(place: ObjectPlace | undefined): Promise<void> {
    this.selected = place;
    this.#mark();
    this.#changed();
    if (place === undefined) return;
    try {
      const details = await this.#client.ask({ kind: "details", ...place });
      if (this.selected === place) this.selected = { ...place, details };
    } catch (error) {
      this.#onError((error as Error).message);
    }
    this.#changed();
  }

  /** Selects an object and moves to it. */
  async goTo(place: ObjectPlace): Promise<void> {
    const { x0, y0, x1, y1 } = await this.layer.boxOf(place);
    const scale = (SELECTED_PART * this.#scene.screen.height) / Math.max(x1 - x0, y1 - y0, 1);
    this.#scene.moveTo({ x: (x0 + x1) / 2, y: (y0 + y1) / 2, scale: Math.min(scale, 8) });
    await this.select(place);
  }

  /** Selects an object by its number. */
  async selectNumber(number: number): Promise<void> {
    const place = await this.layer.findNumber(number);
    if (place === undefined) return this.#onError(`there is no object ${number} in this run`);
    await this.select(place);
  }

  /** Reads a measurement of all objects, for its histogram and the table. */
  async chooseColumn(name: string | undefined): Promise<void> {
    this.column = undefined;
    this.#setRange(undefined);
    if (name === undefined) {
      this.progress = undefined;
      return this.#changed();
    }
    const parts: Float32Array[] = [];
    const { groups } = this.layer.opened;
    let next = 0;
    const progress = { name };
    this.#loading = progress;
    const readSome = async () => {
      while (next < groups.length && this.#loading === progress) {
        const group = next++;
        parts[group] = await this.#client.ask({ kind: "column", group, name });
        this.progress = parts.length / groups.length;
        if (group % 16 === 0) this.#changed();
      }
    };
    try {
      await Promise.all(Array.from({ length: MAX_READS }, readSome));
    } catch (error) {
      this.#onError((error as Error).message);
      return;
    }
    if (this.#loading !== progress) return;
    this.progress = undefined;
    this.column = { name, parts, histogram: makeHistogram(parts, HISTOGRAM_BINS) };
    this.#changed();
  }

  /** Shows only objects whose value lies in the range. */
  setRange(range: readonly [number, number] | undefined): void {
    this.#setRange(range);
    this.#changed();
  }

  setAscending(isAscending: boolean): void {
    this.isAscending = isAscending;
    this.#changed();
  }

  /** Objects in the range. */
  get countInRange(): number {
    if (this.column === undefined || this.range === undefined) return this.count;
    const [low, high] = this.range;
    let count = 0;
    for (const part of this.column.parts) for (const v of part) if (v >= low && v <= high) count++;
    return count;
  }

  /** The objects of the range with the largest or smallest values. */
  async tableRows(): Promise<TableRow[]> {
    const { column } = this;
    if (column === undefined) return [];
    const [low, high] = this.range ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    const sign = this.isAscending ? 1 : -1;
    let best: { place: ObjectPlace; value: number }[] = [];
    column.parts.forEach((part, group) => {
      part.forEach((value, index) => {
        if (!(value >= low && value <= high)) return;
        const last = best[TABLE_ROWS - 1];
        if (last && (value - last.value) * sign >= 0) return;
        best.push({ place: { group, index }, value });
        if (best.length < 2 * TABLE_ROWS && last) return;
        best = best.sort((a, b) => (a.value - b.value) * sign).slice(0, TABLE_ROWS);
      });
    });
    const rows = best.sort((a, b) => (a.value - b.value) * sign).slice(0, TABLE_ROWS);
    return Promise.all(
      rows.map(async ({ place, value }) => ({ place, value, number: await this.layer.numberOf(place) })),
    );
  }

  #setRange(range: readonly [number, number] | undefined): void {
    this.range = range;
    const { column } = this;
    if (range === undefined || column === undefined) {
      this.layer.setFilter(undefined);
      return;
    }
    const [low, high] = range;
    this.layer.setFilter((group, index) => {
      const value = column.parts[group]![index]!;
      return value >= low && value <= high;
    });
  }

  #mark(): void {
    this.layer.mark([this.selected, this.hovered].filter((place) => place !== undefined));
  }

  #changed(): void {
    this.#scene.requestDraw();
    this.#onChange();
  }
}
