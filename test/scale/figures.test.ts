import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lineChart } from "../../bench/scale/chart.ts";
import { replaceBlock, table } from "../../bench/scale/figures.ts";

describe("a chart", () => {
  it("has every point inside its frame, whatever is drawn", () => {
    const value = fc.double({ min: 0.001, max: 1e9, noNaN: true });
    const series = fc.record({
      name: fc.string(),
      points: fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 20 }),
    });
    fc.assert(
      fc.property(
        fc.array(series, { minLength: 1, maxLength: 4 }),
        fc.boolean(),
        fc.boolean(),
        (all, logX, logY) => {
          const chart = {
            title: "<&>",
            x: { label: "x", log: logX },
            y: { label: "y", log: logY },
            series: all,
          };
          const svg = lineChart(chart);
          expect(lineChart(chart)).toBe(svg);
          expect(svg).not.toMatch(/NaN|Infinity/);
          const lines = [...svg.matchAll(/<path d="M([\d. L-]+)" /g)];
          expect(lines).toHaveLength(all.length);
          for (const [, line] of lines) {
            for (const point of line!.split("L")) {
              const [x, y] = point.split(" ").map(Number) as [number, number];
              expect(x >= 70 && x <= 620 && y >= 34 && y <= 254).toBe(true);
            }
          }
        },
      ),
      {
        // Nearly one power of ten, which rounding makes a whole one.
        examples: [[[{ name: "n", points: [[999999999.9999979, 0.001]] }], true, false]],
      },
    );
  });
});

describe("a document's block", () => {
  it("is replaced, and nothing around it", () => {
    const document = "a\n<!-- t -->\nold\n<!-- /t -->\nb";
    const text = table([1, 2], [["n", (n) => `${n}`]]);
    const replaced = replaceBlock(document, "t", text);
    expect(replaced).toBe("a\n<!-- t -->\n| n |\n|---|\n| 1 |\n| 2 |\n<!-- /t -->\nb");
    expect(replaceBlock(replaced, "t", text)).toBe(replaced);
  });

  it("that is not there is not invented", () => {
    expect(() => replaceBlock("a", "t", "x")).toThrow(/no place/);
  });

  it("is there for every table of docs/scale.md", () => {
    const document = readFileSync(join(import.meta.dirname, "../../docs/scale.md"), "utf8");
    for (const name of ["queues", "concurrency", "others", "large", "cost", "limits", "machinery", "fleet"]) {
      expect(() => replaceBlock(document, name, "")).not.toThrow();
    }
  });
});
