import { type Bounds, type Camera, type Size, screenOrigin, visibleBounds } from "../data/camera.ts";
import type { ObjectClient } from "../data/object-client.ts";
import type { ObjectMarks, ObjectOutlines, OpenedObjects } from "../data/object-messages.ts";
import { isInsideOutline } from "../data/outline-segments.ts";
import { ObjectBlocks } from "./object-blocks.ts";
import { ObjectProgram, type OutlineDraw, type OutlineGeometry } from "./object-program.ts";
import type { SceneOverlay } from "./scene.ts";

const SHOWN = 128;
const MARKED = 64;
const MAX_CLASSES = 16;

/** Mean side of an object on the screen, in device pixels, from which outlines are drawn. */
const OUTLINE_SIDE = 7;
/** Groups whose outlines are kept: about 2 MB each. */
const MAX_OUTLINED = 48;
/** Groups that are read at the same time. */
const MAX_READS = 4;

/** Time between frames while groups arrive. */
const DRAW_PAUSE_MS = 300;

/** An object by its place in the table. */
export interface ObjectPlace {
  group: number;
  index: number;
}

interface LoadedGroup {
  marks: ObjectMarks;
  outlines?: { data: ObjectOutlines; geometry: OutlineGeometry; lastFrame: number };
  /** Mean side of its objects in level-0 pixels. */
  meanSide: number;
}

/**
 * Objects above the labels: their outlines, or a mark for each of them when they are small. None is left out. Groups of
 * objects are read when they come into view.
 */
export class ObjectLayer implements SceneOverlay {
  readonly opened: OpenedObjects;
  readonly #client: ObjectClient;
  readonly #program: ObjectProgram;
  readonly #blocks: ObjectBlocks;
  readonly #onChange: (error?: Error) => void;
  readonly #groups: (LoadedGroup | undefined)[];
  readonly #reading = new Set<string>();
  #failed = false;
  #wanted: string[] = [];
  #frame = 0;
  #drawTimer: ReturnType<typeof setTimeout> | undefined;
  #marked: readonly ObjectPlace[] = [];
  #filter: ((group: number, index: number) => boolean) | undefined;
  isVisible = true;
  hiddenClasses: ReadonlySet<number> = new Set();

  constructor(
    gl: WebGL2RenderingContext,
    client: ObjectClient,
    opened: OpenedObjects,
    onChange: (error?: Error) => void,
  ) {
    this.#client = client;
    this.opened = opened;
    this.#onChange = onChange;
    this.#program = new ObjectProgram(gl);
    this.#blocks = new ObjectBlocks(this.#program, opened.groups);
    this.#groups = opened.groups.map(() => undefined);
  }

  get pending(): number {
    return this.isVisible && !this.#failed ? this.#wanted.length : 0;
  }

  /** Marks of a group, if they have been read. */
  marks(group: number): ObjectMarks | undefined {
    return this.#groups[group]?.marks;
  }

  /** Shows only some objects. */
  setFilter(filter: ((group: number, index: number) => boolean) | undefined): void {
    this.#filter = filter;
    this.#groups.forEach((_, group) => {
      this.#updateStates(group);
    });
    this.#onChange();
  }

  setHiddenClasses(hidden: ReadonlySet<number>): void {
    this.hiddenClasses = hidden;
    this.setFilter(this.#filter);
  }

  /** Draws some objects in white: the selected one, and the one under the pointer. */
  mark(places: readonly ObjectPlace[]): void {
    const before = new Set(this.#marked.map(({ group }) => group));
    this.#marked = places;
    for (const group of new Set([...before, ...places.map(({ group }) => group)])) this.#updateStates(group);
    this.#onChange();
  }

  /** The shown object at a world position whose outline has been read. */
  find(x: number, y: number): ObjectPlace | undefined {
    if (!this.isVisible) return undefined;
    for (const [group, { box }] of this.opened.groups.entries()) {
      const loaded = this.#groups[group];
      if (!loaded?.outlines || x < box.x0 || x >= box.x1 || y < box.y0 || y >= box.y1) continue;
      const [u, v] = [x - box.x0, y - box.y0];
      const { boxes, numbers } = loaded.marks;
      for (let index = 0; index < numbers.length; index++) {
        const at = 4 * index;
        if (u < boxes[at]! || u >= boxes[at + 2]! || v < boxes[at + 1]! || v >= boxes[at + 3]!) continue;
        if (this.#isShown(group, index) && isInsideOutline(loaded.outlines.data, index, u, v))
          return { group, index };
      }
    }
    return undefined;
  }

  /** Box of an object in level-0 pixels. */
  async boxOf({ group, index }: ObjectPlace): Promise<Bounds> {
    const { boxes } = (await this.#readMarks(group)).marks;
    const { x0, y0 } = this.opened.groups[group]!.box;
    const at = 4 * index;
    return { x0: x0 + boxes[at]!, y0: y0 + boxes[at + 1]!, x1: x0 + boxes[at + 2]!, y1: y0 + boxes[at + 3]! };
  }

  async numberOf({ group, index }: ObjectPlace): Promise<number> {
    return (await this.#readMarks(group)).marks.numbers[index]!;
  }

  /** Finds an object by its number, reading groups until it is there. */
  async findNumber(number: number): Promise<ObjectPlace | undefined> {
    for (let group = 0; group < this.#groups.length; group++) {
      const index = (await this.#readMarks(group)).marks.numbers.indexOf(number);
      if (index >= 0) return { group, index };
    }
    return undefined;
  }

  draw(camera: Camera, screen: Size): void {
    this.#frame++;
    if (!this.isVisible || this.#failed) return;
    const visible = visibleBounds(camera, screen);
    const origin = screenOrigin(camera, screen);
    const inView: number[] = [];
    this.opened.groups.forEach(({ box }, group) => {
      const isSeen = box.x1 > visible.x0 && box.x0 < visible.x1 && box.y1 > visible.y0 && box.y0 < visible.y1;
      if (isSeen) inView.push(group);
    });
    const outlined: OutlineDraw[] = [];
    const marked: number[] = [];
    const wanted: string[] = [];
    const toScreen = (x: number, y: number) => ({
      x: origin.x + x * camera.scale,
      y: origin.y + y * camera.scale,
    });
    for (const group of inView) {
      const loaded = this.#groups[group];
      if (loaded === undefined) {
        wanted.push(`marks ${group}`);
        continue;
      }
      const isLarge = loaded.meanSide * camera.scale >= OUTLINE_SIDE && inView.length <= MAX_OUTLINED;
      if (isLarge && loaded.outlines) {
        const { box } = this.opened.groups[group]!;
        const { geometry } = loaded.outlines;
        loaded.outlines.lastFrame = this.#frame;
        outlined.push({ geometry, ...this.#blocks.placeOf(group), ...toScreen(box.x0, box.y0) });
        continue;
      }
      if (isLarge) wanted.push(`outlines ${group}`);
      // Until outlines are there, large marks would hide the image.
      else marked.push(group);
    }
    this.#wanted = wanted;
    const ratio = globalThis.devicePixelRatio || 1;
    const look = (alpha: number) => ({
      screen,
      scale: camera.scale,
      colors: this.opened.classes.map(({ color: [r, g, b] }) => [r / 255, g / 255, b / 255, alpha] as const),
      thickness: 1.5 * ratio,
    });
    this.#program.drawMarks(this.#blocks.draws(marked, toScreen), look(0.7));
    this.#program.drawOutlines(outlined, look(1));
    this.#dropOldOutlines();
    this.#readWanted();
  }

  close(): void {
    this.#failed = true;
    for (const loaded of this.#groups)
      if (loaded?.outlines) this.#program.removeOutlines(loaded.outlines.geometry);
    this.#blocks.close();
    this.#client.close();
  }

  #isShown(group: number, index: number): boolean {
    if (this.hiddenClasses.has(this.#groups[group]!.marks.classes[index]!)) return false;
    return this.#filter?.(group, index) ?? true;
  }

  #updateStates(group: number): void {
    const loaded = this.#groups[group];
    if (loaded === undefined) return;
    this.#blocks.setStates(group, this.#states(group, loaded.marks));
  }

  #states(group: number, { classes }: ObjectMarks): Uint8Array {
    const states = classes.map((kind, index) => {
      const isHidden = this.hiddenClasses.has(kind) || this.#filter?.(group, index) === false;
      return (kind % MAX_CLASSES) | (isHidden ? 0 : SHOWN);
    });
    for (const place of this.#marked) if (place.group === group) states[place.index]! |= MARKED | SHOWN;
    return states;
  }

  async #readMarks(group: number): Promise<LoadedGroup> {
    const known = this.#groups[group];
    if (known) return known;
    const marks = await this.#client.ask({ kind: "marks", group });
    const raced = this.#groups[group];
    if (raced) return raced;
    let sides = 0;
    for (let i = 0; i < marks.boxes.length; i += 4)
      sides += Math.max(marks.boxes[i + 2]! - marks.boxes[i]!, marks.boxes[i + 3]! - marks.boxes[i + 1]!);
    const loaded: LoadedGroup = {
      marks,
      meanSide: sides / Math.max(1, marks.numbers.length),
    };
    this.#groups[group] = loaded;
    this.#blocks.setBoxes(group, marks);
    this.#blocks.setStates(group, this.#states(group, marks));
    return loaded;
  }

  #readWanted(): void {
    for (const want of this.#wanted) {
      if (this.#reading.size >= MAX_READS) return;
      if (this.#reading.has(want)) continue;
      this.#reading.add(want);
      const [kind, group] = want.split(" ") as ["marks" | "outlines", string];
      const read = kind === "marks" ? this.#readMarks(Number(group)) : this.#readOutlines(Number(group));
      read.then(
        () => {
          this.#reading.delete(want);
          if (this.#failed) return;
          this.#wanted = this.#wanted.filter((other) => other !== want);
          this.#readWanted();
          this.#drawSoon();
        },
        (error: Error) => {
          if (this.#failed) return;
          this.#failed = true;
          this.#onChange(error);
        },
      );
    }
  }

  /** Draws what has arrived: not for each group, because a large table has hundreds. */
  #drawSoon(): void {
    const wait = this.#wanted.length === 0 ? 0 : DRAW_PAUSE_MS;
    if (wait > 0 && this.#drawTimer !== undefined) return;
    clearTimeout(this.#drawTimer);
    this.#drawTimer = setTimeout(() => {
      this.#drawTimer = undefined;
      if (!this.#failed) this.#onChange();
    }, wait);
  }

  async #readOutlines(group: number): Promise<void> {
    const data = await this.#client.ask({ kind: "outlines", group });
    const loaded = this.#groups[group];
    if (loaded === undefined || loaded.outlines || this.#failed) return;
    const geometry = this.#program.uploadSegments(data.segments);
    loaded.outlines = { data, geometry, lastFrame: this.#frame };
  }

  #dropOldOutlines(): void {
    const outlined = this.#groups.filter((loaded) => loaded?.outlines !== undefined);
    if (outlined.length <= MAX_OUTLINED) return;
    outlined.sort((a, b) => a!.outlines!.lastFrame - b!.outlines!.lastFrame);
    for (const old of outlined.slice(0, outlined.length - MAX_OUTLINED)) {
      if (old!.outlines!.lastFrame === this.#frame) continue;
      this.#program.removeOutlines(old!.outlines!.geometry);
      old!.outlines = undefined;
    }
  }
}
