import { BOUNDARY, type ObjectRule } from "../../src/tiling/objects/connected-components.ts";

/**
 * Objects by the definition, on the whole image at once: flood fill, small ones out, boundary growth a step at a time.
 * Returns a component number per pixel (0 none), numbered in raster order of first interior pixels.
 */
export function referenceComponents(
  data: Uint8Array,
  width: number,
  height: number,
  rule: ObjectRule,
): { labels: Int32Array; kinds: number[] } {
  const labels = new Int32Array(width * height);
  const kinds = [0];
  const kindAt = (p: number) => rule.kinds[data[p]!]!;
  for (let start = 0; start < data.length; start++) {
    const kind = kindAt(start);
    if (kind === 0 || kind === BOUNDARY || labels[start] !== 0) continue;
    const label = kinds.push(kind) - 1;
    const stack = [start];
    labels[start] = label;
    while (stack.length > 0) {
      const p = stack.pop()!;
      const x = p % width;
      const y = (p - x) / width;
      for (let dy = -1; dy <= 1; dy++) {
        for (let dx = -1; dx <= 1; dx++) {
          if (rule.connectivity === 4 && dx !== 0 && dy !== 0) continue;
          const nx = x + dx;
          const ny = y + dy;
          if (nx < 0 || ny < 0 || nx >= width || ny >= height) continue;
          const q = ny * width + nx;
          if (labels[q] === 0 && kindAt(q) === kind) {
            labels[q] = label;
            stack.push(q);
          }
        }
      }
    }
  }
  const areas = new Int32Array(kinds.length);
  for (const label of labels) areas[label]!++;
  for (let p = 0; p < labels.length; p++) if (areas[labels[p]!]! < rule.minArea) labels[p] = 0;
  for (let step = 0; step < rule.maxGrow; step++) {
    const before = labels.slice();
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const p = y * width + x;
        if (kindAt(p) !== BOUNDARY || before[p] !== 0) continue;
        const neighbours = [
          y > 0 ? before[p - width]! : 0,
          x > 0 ? before[p - 1]! : 0,
          x + 1 < width ? before[p + 1]! : 0,
          y + 1 < height ? before[p + width]! : 0,
        ];
        labels[p] = neighbours.find((l) => l !== 0) ?? 0;
      }
    }
  }
  return { labels, kinds };
}
