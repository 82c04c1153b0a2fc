import { describe, expect, it } from "vitest";
import { countSeams, emptySeamCounts, planWindowGrid, seamLines, seamScore } from "../../src/tiling/index.ts";

const [HEIGHT, WIDTH] = [300, 400];
const grid = planWindowGrid({ shape: [HEIGHT, WIDTH], window: [96, 96] });
const lines = seamLines(grid);

/** Blocks of 1 to 3 samples with random classes, so that changes are everywhere and follow no lattice. */
function mottled(): Uint8Array {
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 24;
  };
  return Uint8Array.from({ length: HEIGHT * WIDTH }, () => (random() < 0.2 ? 1 : 0));
}

function score(data: Uint8Array, chunkHeight = HEIGHT): number | undefined {
  const counts = emptySeamCounts();
  for (let y = 0; y < HEIGHT; y += chunkHeight) {
    const height = Math.min(chunkHeight, HEIGHT - y);
    const labels = { data: data.subarray(y * WIDTH, (y + height) * WIDTH), shape: [height, WIDTH] };
    countSeams(labels, { origin: [y, 0], size: [height, WIDTH] }, lines, counts);
  }
  return seamScore(counts);
}

describe("seam score", () => {
  it("is 1 if window borders leave no trace", () => {
    expect(score(mottled())).toBeGreaterThan(0.95);
    expect(score(mottled())).toBeLessThan(1.05);
  });

  it("rises if a window is labelled differently from its neighbours", () => {
    const data = mottled();
    const { starts } = grid;
    const [y0, x0] = [starts[0]![1]!, starts[1]![2]!];
    for (let y = y0; y < y0 + 96; y++)
      for (let x = x0; x < x0 + 96; x++) {
        data[y * WIDTH + x] = data[y * WIDTH + x]! ^ 1;
      }
    expect(score(data)).toBeGreaterThan(1.1);
  });

  it("does not count the patch lattice of a network as a seam", () => {
    const data = new Uint8Array(HEIGHT * WIDTH);
    for (let y = 0; y < HEIGHT; y++)
      for (let x = 0; x < WIDTH; x++) data[y * WIDTH + x] = ((x >> 2) + (y >> 2)) & 1;
    expect(score(data)).toBeCloseTo(1, 6);
  });

  it("hardly depends on the chunks it is counted in, and is undefined without objects", () => {
    expect(score(mottled(), 64)).toBeCloseTo(score(mottled())!, 1);
    expect(score(new Uint8Array(HEIGHT * WIDTH))).toBeUndefined();
  });
});
