import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drawText, LETTER } from "../../../src/orchestrator/outputs/bitmap-font.ts";
import { scaleBarLength, withCaption } from "../../../src/orchestrator/outputs/caption.ts";

const GREY = 90;
function picture(width: number, height: number) {
  return { data: new Uint8Array(width * height * 3).fill(GREY), shape: [height, width, 3] };
}

describe("a caption", () => {
  it("keeps the picture and adds rows below it", () => {
    const side = fc.integer({ min: 1, max: 400 });
    fc.assert(
      fc.property(
        side,
        side,
        fc.array(fc.string({ maxLength: 40 }), { maxLength: 5 }),
        fc.boolean(),
        (w, h, names, known) => {
          const { data, shape } = withCaption(picture(w, h), {
            legend: names.map((name) => ({ name, color: [0, 200, 0] as const })),
            micrometresPerPixel: known ? 0.25 : undefined,
            warnings: [],
          });
          const [height, width] = shape as [number, number];
          expect(data.length).toBe(height * width * 3);
          expect(height).toBeGreaterThan(h);
          expect(width).toBeGreaterThanOrEqual(w);
          for (let y = 0; y < h; y += 7) {
            for (let x = 0; x < w; x += 7) expect(data[(y * width + x) * 3]).toBe(GREY);
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it("has a scale bar of a round length, a quarter of the picture at most", () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-3, max: 1e7, noNaN: true }), (longest) => {
        const length = scaleBarLength(longest);
        expect(length).toBeLessThanOrEqual(longest * (1 + 1e-9));
        expect(length).toBeGreaterThan(longest / 2.51);
        expect(["1", "2", "5"]).toContain(length.toExponential().replace(/\.?0*e.*/, "")[0]);
      }),
    );
    const { data, shape } = withCaption(picture(800, 10), {
      legend: [],
      micrometresPerPixel: 0.5,
      warnings: [],
    });
    const width = shape[1]!;
    const dark = (y: number) => {
      let n = 0;
      for (let x = 0; x < width; x++) if (data[(y * width + x) * 3]! < 60) n++;
      return n;
    };
    // 100 µm at 0.5 µm a pixel; letters lie beside it.
    expect(
      Math.max(...Array.from({ length: shape[0]! - 10 }, (_, y) => dark(10 + y))),
    ).toBeGreaterThanOrEqual(200);
  });

  it("has a swatch for each name, and wrapped warnings", () => {
    const warnings = ["a sentence that is far longer than one line of so narrow a picture can be"];
    const { data, shape } = withCaption(picture(200, 20), {
      legend: [
        { name: "anterior", color: [250, 100, 20] },
        { name: "posterior", color: [20, 100, 250] },
      ],
      micrometresPerPixel: undefined,
      warnings,
    });
    const found = new Set<string>();
    for (let i = 20 * 200 * 3; i < data.length; i += 3) found.add(data.subarray(i, i + 3).join());
    expect(found).toContain("250,100,20");
    expect(found).toContain("20,100,250");
    expect(found).toContain("200,30,30");
    expect(shape[0]!).toBeGreaterThan(20 + 4 * LETTER.height);
  });

  it("keeps every letter of long names and words in narrow pictures", () => {
    const count = (
      { data, shape }: { data: Uint8Array; shape: readonly number[] },
      ink: readonly number[],
    ) => {
      let n = 0;
      for (let i = 0; i < shape[0]! * shape[1]!; i++) {
        if (ink.every((v, c) => data[i * 3 + c] === v)) n++;
      }
      return n;
    };
    const letter = fc.constantFrom(..."abcdefghiklmnopqrstuvwxyz_/");
    const word = fc.string({ unit: letter, minLength: 1, maxLength: 60 });
    const sentence = fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join(" "));
    const inkOf = (text: string) => {
      let n = 0;
      drawText(text, () => void n++);
      return n;
    };
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.array(sentence, { minLength: 1, maxLength: 6 }),
        sentence,
        (width, names, warning) => {
          const drawn = withCaption(picture(width, 3), {
            legend: names.map((name) => ({ name, color: [0, 200, 0] as const })),
            micrometresPerPixel: undefined,
            warnings: [warning],
          });
          expect(count(drawn, [33, 37, 41])).toBe(names.reduce((n, name) => n + inkOf(name), 0));
          expect(count(drawn, [200, 30, 30])).toBe(inkOf(warning));
          expect(count(drawn, [0, 200, 0])).toBe(81 * names.length);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("letters", () => {
  const pixelsOf = (text: string) => {
    const pixels: string[] = [];
    drawText(text, (x, y) => void pixels.push(`${x},${y}`));
    return pixels;
  };

  it("differ, stay in their box, and stand side by side", () => {
    const letters = [..."0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZµ×üé.,%-"];
    expect(new Set(letters.map((letter) => pixelsOf(letter).join(" "))).size).toBe(letters.length);
    for (const letter of letters) {
      for (const pixel of pixelsOf(letter)) {
        const [x, y] = pixel.split(",").map(Number) as [number, number];
        expect(x >= 0 && x < LETTER.width && y >= 0 && y < LETTER.height).toBe(true);
      }
    }
    const shifted = pixelsOf("b").map((p) => p.replace(/^\d+/, (x) => `${Number(x) + LETTER.width}`));
    expect(pixelsOf("ab")).toEqual([...pixelsOf("a"), ...shifted]);
    expect(pixelsOf("漢")).toEqual(pixelsOf("?"));
    expect(pixelsOf(" ")).toEqual([]);
  });
});
