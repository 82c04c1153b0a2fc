import type { Bounds } from "../data/camera.ts";
import type { ObjectGroupInfo, ObjectMarks } from "../data/object-messages.ts";
import { type MarkDraw, type ObjectBlock, type ObjectProgram, placesOf } from "./object-program.ts";

/** Places of a block: a million objects are sixteen of them. Its boxes take 1 MiB. */
const BLOCK_PLACES = 65_536;

/** Where a group is kept. */
export interface GroupPlace {
  /** Number of its block. */
  block: number;
  /** Its first place in the block. */
  first: number;
}

/**
 * Divides groups into blocks, in their order: neighbours in a table are neighbours on the picture. A group lies in one
 * block; a larger one than a block has a block of its own.
 * @returns the place of each group, and the places of each block
 */
export function planBlocks(counts: readonly number[]): { groups: GroupPlace[]; blocks: number[] } {
  const blocks: number[] = [];
  const groups = counts.map((count) => {
    const places = placesOf(count);
    if (blocks.length === 0 || blocks.at(-1)! + places > BLOCK_PLACES) blocks.push(0);
    const first = blocks.at(-1)!;
    blocks[blocks.length - 1] = first + places;
    return { block: blocks.length - 1, first };
  });
  return { groups, blocks };
}

/** A stretch of a block. */
export interface PlaceRun extends GroupPlace {
  count: number;
}

/**
 * Joins groups that follow each other in a block. What lies between the objects of two groups is shown by no state.
 * @param wanted numbers of groups, ascending
 */
export function joinGroups(
  wanted: readonly number[],
  groups: readonly GroupPlace[],
  counts: readonly number[],
): PlaceRun[] {
  const runs: PlaceRun[] = [];
  let before = -1;
  for (const group of wanted) {
    const { block, first } = groups[group]!;
    const last = runs.at(-1);
    if (last && before === group - 1 && last.block === block)
      last.count = first + counts[group]! - last.first;
    else runs.push({ block, first, count: counts[group]! });
    before = group;
  }
  return runs;
}

/** Boxes and states of all groups on the graphics card. A draw call costs the page more than its objects do. */
export class ObjectBlocks {
  readonly #program: ObjectProgram;
  readonly #infos: readonly ObjectGroupInfo[];
  readonly #counts: readonly number[];
  readonly #plan: ReturnType<typeof planBlocks>;
  /** Created with their first group. */
  readonly #blocks: (ObjectBlock | undefined)[];
  /** Position of each block's origin: the corner of its first group. */
  readonly #origins: Pick<Bounds, "x0" | "y0">[] = [];

  constructor(program: ObjectProgram, groups: readonly ObjectGroupInfo[]) {
    this.#program = program;
    this.#infos = groups;
    this.#counts = groups.map(({ count }) => count);
    this.#plan = planBlocks(this.#counts);
    this.#blocks = this.#plan.blocks.map(() => undefined);
    this.#plan.groups.forEach(({ block }, group) => {
      this.#origins[block] ??= groups[group]!.box;
    });
  }

  /** Block and first place of a group. */
  placeOf(group: number): { block: ObjectBlock; first: number } {
    const { block, first } = this.#plan.groups[group]!;
    this.#blocks[block] ??= this.#program.createBlock(this.#plan.blocks[block]!);
    return { block: this.#blocks[block], first };
  }

  setBoxes(group: number, { boxes }: ObjectMarks): void {
    const { block, first } = this.placeOf(group);
    const { x0, y0 } = this.#infos[group]!.box;
    const origin = this.#origins[this.#plan.groups[group]!.block]!;
    const shift = [x0 - origin.x0, y0 - origin.y0] as const;
    this.#program.setBoxes(
      block,
      first,
      boxes.map((value, i) => value + shift[i % 2]!),
    );
  }

  setStates(group: number, states: Uint8Array): void {
    const { block, first } = this.placeOf(group);
    this.#program.setStates(block, first, states);
  }

  /** What draws the marks of groups. @param wanted ascending @param toScreen of a position of the image */
  draws(wanted: readonly number[], toScreen: (x: number, y: number) => { x: number; y: number }): MarkDraw[] {
    return joinGroups(wanted, this.#plan.groups, this.#counts).map(({ block, first, count }) => {
      const { x0, y0 } = this.#origins[block]!;
      return { block: this.#blocks[block]!, first, count, ...toScreen(x0, y0) };
    });
  }

  close(): void {
    for (const block of this.#blocks) if (block) this.#program.removeBlock(block);
  }
}
