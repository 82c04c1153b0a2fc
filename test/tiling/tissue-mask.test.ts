import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keepWindows, maskFraction } from "../../src/tiling/grid/keep-windows.ts";
import type { Raster } from "../../src/tiling/grid/raster.ts";
import { planWindowGrid } from "../../src/tiling/grid/window-grid.ts";
import { findTissue } from "../../src/tiling/pixels/tissue-mask.ts";

type Colour = readonly [number, number, number];
const SIDE = 200;

/** Numbers from -1 to 1 that depend on place and seed alone. */
function noise(x: number, y: number, seed: number): number {
  let h = Math.imul(x + 1, 374761393) ^ Math.imul(y + 1, 668265263) ^ Math.imul(seed + 1, 2147483647);
  h = Math.imul(h ^ (h >>> 13), 1274126177);
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 31 - 1;
}

/** A made thumbnail: each pixel's colour, and how much it varies from pixel to pixel. */
function picture(at: (x: number, y: number) => { colour: Colour; grain: number }): Raster<Uint8Array> {
  const data = new Uint8ClampedArray(SIDE * SIDE * 3);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const { colour, grain } = at(x, y);
      for (let c = 0; c < 3; c++) data[(y * SIDE + x) * 3 + c] = colour[c]! + grain * noise(x, y, c);
    }
  }
  return { data: new Uint8Array(data.buffer), shape: [SIDE, SIDE, 3] };
}

const GLASS = { colour: [243, 242, 244] as Colour, grain: 2 };
const HE = { colour: [190, 110, 170] as Colour, grain: 40 };
const DARK_HE = { colour: [105, 45, 110] as Colour, grain: 38 };
const FAINT = { colour: [232, 214, 226] as Colour, grain: 6 };
const DARKNESS = { colour: [5, 5, 5] as Colour, grain: 3 };
const GLOW = { colour: [165, 165, 165] as Colour, grain: 50 };

const inBox = (x: number, y: number, x0: number, y0: number, x1: number, y1: number) =>
  x >= x0 && x < x1 && y >= y0 && y < y1;
const section = (x: number, y: number) => inBox(x, y, 60, 50, 140, 150);

/** Share of the pixels of a part that the mask keeps. */
function keptOf(mask: Raster<Uint8Array>, part: (x: number, y: number) => boolean): number {
  let kept = 0;
  let all = 0;
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      if (!part(x, y)) continue;
      all++;
      kept += mask.data[y * SIDE + x]!;
    }
  }
  return kept / all;
}

describe("tissue", () => {
  const scenes: [
    string,
    "bright" | "dark" | "none",
    ReturnType<typeof picture>,
    (x: number, y: number) => boolean,
  ][] = [
    ["a section on glass", "bright", picture((x, y) => (section(x, y) ? HE : GLASS)), section],
    [
      "several sections on glass",
      "bright",
      picture((x, y) => (inBox(x, y, 10, 10, 60, 90) || inBox(x, y, 90, 100, 190, 190) ? HE : GLASS)),
      (x, y) => inBox(x, y, 10, 10, 60, 90) || inBox(x, y, 90, 100, 190, 190),
    ],
    [
      "dense dark tissue with a strip of glass",
      "bright",
      picture((x) => (x < 8 ? GLASS : DARK_HE)),
      (x) => x >= 8,
    ],
    ["faint tissue", "bright", picture((x, y) => (section(x, y) ? FAINT : GLASS)), section],
    [
      "grey tissue, smooth as the glass",
      "bright",
      picture((x, y) => ({ colour: section(x, y) ? [120, 120, 120] : [240, 240, 240], grain: 2 })),
      section,
    ],
    ["fluorescence", "dark", picture((x, y) => (section(x, y) ? GLOW : DARKNESS)), section],
    [
      "dim nuclei on black",
      "dark",
      picture((x, y) => (section(x, y) ? { colour: [30, 30, 30], grain: 3 } : DARKNESS)),
      section,
    ],
    [
      "glowing fluorescence with a dark strip",
      "dark",
      picture((x) => (x < 8 ? DARKNESS : GLOW)),
      (x) => x >= 8,
    ],
    [
      "blue fluorescence",
      "dark",
      picture((x, y) => (section(x, y) ? { colour: [10, 20, 190], grain: 50 } : DARKNESS)),
      section,
    ],
    [
      "a section on glass, black padding around",
      "bright",
      picture((x, y) => {
        if (x < 50 || y > 170) return { colour: [0, 0, 0], grain: 0 };
        return section(x, y) ? HE : GLASS;
      }),
      section,
    ],
  ];

  it.each(scenes)(
    "of %s: the background is %s and is left out, the tissue is kept",
    (_, background, scene, part) => {
      const { mask, finding } = findTissue(scene);
      expect(finding.background).toBe(background);
      expect(keptOf(mask, part)).toBeGreaterThan(0.97);
      expect(keptOf(mask, (x, y) => !part(x, y) && !near(part, x, y))).toBeLessThan(0.1);
    },
  );

  it("leaves out black padding and reports its share", () => {
    const { mask, finding } = findTissue(scenes.at(-1)![2]);
    expect(finding.padding).toBeCloseTo((SIDE * SIDE - 150 * 171) / (SIDE * SIDE), 3);
    expect(keptOf(mask, (x) => x < 45)).toBe(0);
  });

  it("keeps pen marks and the tissue beside them", () => {
    const pen = (x: number, y: number) => inBox(x, y, 5, 5, 190, 20);
    const { mask, finding } = findTissue(
      picture((x, y) => (pen(x, y) ? { colour: [30, 60, 160], grain: 4 } : section(x, y) ? FAINT : GLASS)),
    );
    expect(finding.background).toBe("bright");
    expect(keptOf(mask, pen)).toBeGreaterThan(0.97);
    expect(keptOf(mask, section)).toBeGreaterThan(0.97);
  });

  it.each([
    ["nothing but tissue", picture(() => HE)],
    ["nothing but dark tissue", picture(() => DARK_HE)],
    ["nothing but glow", picture(() => GLOW)],
    ["one grey", picture(() => ({ colour: [128, 128, 128], grain: 2 }))],
    ["one white", picture(() => ({ colour: [255, 255, 255], grain: 0 }))],
    ["two tissues without glass", picture((x) => (x < 100 ? HE : DARK_HE))],
    ["noise", picture(() => ({ colour: [128, 128, 128], grain: 127 }))],
  ])("keeps everything of %s, where no background is certain", (_, scene) => {
    const { mask, finding } = findTissue(scene);
    expect(finding.background).toBe("none");
    expect(mask.data.every((v) => v === 1)).toBe(true);
  });

  it("warns where what is left out is as rough as what is kept", () => {
    const rough = picture((x, y) => (section(x, y) ? HE : { colour: [225, 224, 226], grain: 25 }));
    const { finding } = findTissue(rough);
    if (finding.background !== "none") expect(finding.warning).toMatch(/it may be tissue/);
    const little = picture((x, y) => (inBox(x, y, 100, 100, 105, 105) ? HE : GLASS));
    expect(findTissue(little).finding.warning).toMatch(/only 0\.\d % of the image counts as tissue/);
    expect(findTissue(scenes[0]![2]).finding.warning).toBeUndefined();
  });

  it("does not depend on the orientation of the picture", () => {
    fc.assert(
      fc.property(fc.constantFrom(...scenes.map(([, , scene]) => scene)), (scene) => {
        const turned = new Uint8Array(scene.data.length);
        const pixels = SIDE * SIDE;
        for (let i = 0; i < pixels; i++) {
          for (let c = 0; c < 3; c++) turned[(pixels - 1 - i) * 3 + c] = scene.data[i * 3 + c]!;
        }
        const [a, b] = [scene, { data: turned, shape: scene.shape }].map((s) => findTissue(s));
        expect(b!.finding.background).toBe(a!.finding.background);
        let differing = 0;
        for (let i = 0; i < pixels; i++) if (a!.mask.data[i] !== b!.mask.data[pixels - 1 - i]) differing++;
        expect(differing / pixels).toBeLessThan(0.001);
      }),
      { numRuns: scenes.length * 2, seed: 3 },
    );
  });

  it.each(scenes.slice(0, 2))("keeps only windows with tissue of %s", (_, __, scene, part) => {
    const { mask } = findTissue(scene);
    const rect = { origin: [0, 0], size: [2000, 2000] };
    const grid = planWindowGrid({ shape: rect.size, window: [100, 100], overlapRatio: 0 });
    const kept = keepWindows(grid, [0, 0], { raster: mask, rect });
    for (let w = 0; w < kept.length; w++) {
      const [y, x] = [Math.floor(w / 20) * 10, (w % 20) * 10];
      const inside = part(x + 2, y + 2) && part(x + 7, y + 7);
      if (inside) expect(kept.has(w)).toBe(true);
      const around = [-12, 0, 12, 21].some((v) => [-12, 0, 12, 21].some((u) => part(x + u, y + v)));
      if (!around) expect(kept.has(w)).toBe(false);
    }
    expect(maskFraction({ raster: mask, rect }, rect)).toBeLessThan(0.5);
  });
});

/** Masks are grown by a pixel, and noise may reach a little farther. */
function near(part: (x: number, y: number) => boolean, x: number, y: number): boolean {
  for (let v = -2; v <= 2; v++) for (let u = -2; u <= 2; u++) if (part(x + u, y + v)) return true;
  return false;
}
