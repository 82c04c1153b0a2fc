import { field } from "./lanes";

/**
 * An image with a border of 0, as convolutions read it.
 *   0 input   1 offsets of pixels, or 0   2 distance of pixels   3 height   4 width   5 channels
 *   6 output [height + top + bottom][width + left + right][channels]   7 top   8 left   9 bottom   10 right
 */
export function padImage(p: usize): void {
  const height = field(p, 3), width = field(p, 4), bytes = <usize>(field(p, 5) << 2);
  const table = <usize>field(p, 1), input = <usize>field(p, 0), distance = field(p, 2);
  const step = <i32>bytes;
  const line = (width + field(p, 8) + field(p, 10)) * step;
  let to = <usize>field(p, 6);
  memory.fill(to, 0, field(p, 7) * line);
  to += field(p, 7) * line;
  for (let y = 0; y < height; y++) {
    memory.fill(to, 0, field(p, 8) * step);
    to += field(p, 8) * step;
    for (let x = 0; x < width; x++, to += step) {
      const m = y * width + x;
      const from = input + (table ? load<i32>(table + (<usize>m << 2)) : m * distance);
      let k: usize = 0;
      for (; k + 16 <= bytes; k += 16) v128.store(to + k, v128.load(from + k));
      for (; k < bytes; k += 4) store<f32>(to + k, load<f32>(from + k));
    }
    memory.fill(to, 0, field(p, 10) * step);
    to += field(p, 10) * step;
  }
  memory.fill(to, 0, field(p, 9) * line);
}
