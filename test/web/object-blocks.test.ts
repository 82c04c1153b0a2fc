import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { joinGroups, planBlocks } from "../../web/src/scene/object-blocks.ts";

const PLACES = 65_536;
const ROW = 256;
const counts = fc.array(fc.oneof(fc.integer({ min: 1, max: 4096 }), fc.integer({ min: 1, max: 200_000 })), {
  maxLength: 80,
});

describe("blocks of groups of objects", () => {
  it("give each object a place of its own, and each group whole rows of states", () => {
    fc.assert(
      fc.property(counts, (given) => {
        const { groups, blocks } = planBlocks(given);
        const ends = blocks.map(() => 0);
        groups.forEach(({ block, first }, i) => {
          expect(first % ROW).toBe(0);
          expect(first).toBe(ends[block]);
          ends[block] = first + Math.ceil(given[i]! / ROW) * ROW;
        });
        expect(ends).toEqual(blocks);
        // Only a single group may be larger than a block.
        blocks.forEach((places, block) => {
          const members = groups.filter((place) => place.block === block).length;
          expect(places <= PLACES || members === 1).toBe(true);
        });
      }),
    );
  });

  it("are drawn in stretches that hold exactly the wanted groups", () => {
    const wanted = counts.chain((given) => fc.tuple(fc.constant(given), fc.subarray(given.map((_, i) => i))));
    fc.assert(
      fc.property(wanted, ([given, some]) => {
        const { groups } = planBlocks(given);
        const runs = joinGroups(some, groups, given);
        groups.forEach(({ block, first }, group) => {
          const drawn = runs.filter(
            (run) =>
              run.block === block && run.first < first + given[group]! && run.first + run.count > first,
          );
          expect(drawn.length).toBe(some.includes(group) ? 1 : 0);
          for (const run of drawn) {
            expect(run.first).toBeLessThanOrEqual(first);
            expect(run.first + run.count).toBeGreaterThanOrEqual(first + given[group]!);
          }
        });
        expect(runs.length).toBeLessThanOrEqual(some.length);
      }),
    );
  });

  it("are few: the groups of a million objects are drawn in sixteen stretches", () => {
    const given = Array.from({ length: 489 }, () => 2048);
    const { groups, blocks } = planBlocks(given);
    expect(blocks.length).toBe(16);
    expect(joinGroups([...given.keys()], groups, given).length).toBe(16);
  });
});
