import { activate4, field, loadLanes, storeLanes } from "./lanes";

/**
 * One value of each position: 0 a + b, 1 a·b, 2 a.
 *   0 operation   1 count   2 a   3 b   4 output   5 activation
 *   6 period of b in elements, 0 = as long as a   7 factor of a (float32 bits)
 */
export function elementwise(p: usize): void {
  const operation = field(p, 0), count = field(p, 1), activation = field(p, 5);
  const a = <usize>field(p, 2), b = <usize>field(p, 3), out = <usize>field(p, 4);
  const period = field(p, 6) ? field(p, 6) : count;
  const factor = f32x4.splat(reinterpret<f32>(field(p, 7)));
  for (let from = 0; from < count; from += period) {
    const length = min(period, count - from);
    for (let i = 0; i < length; i += 4) {
      const at = <usize>((from + i) << 2);
      const left = length - i;
      let x = f32x4.mul(loadLanes(a + at, left), factor);
      if (operation < 2) {
        const y = loadLanes(b + (<usize>i << 2), left);
        x = operation == 0 ? f32x4.add(x, y) : f32x4.mul(x, y);
      }
      x = activate4(x, activation);
      if (left >= 4) v128.store(out + at, x);
      else storeLanes(out + at, x, left);
    }
  }
}

/**
 * Runs of floats to other places.
 *   0 input   1 offsets of input runs   2 output   3 offsets of output runs, or 0   4 distance of output runs
 *   5 runs   6 bytes of a run
 */
export function copyRuns(p: usize): void {
  const input = <usize>field(p, 0), output = <usize>field(p, 2), step = field(p, 4);
  const sources = <usize>field(p, 1), targets = <usize>field(p, 3);
  const runs = field(p, 5), bytes = <usize>field(p, 6);
  for (let n = 0; n < runs; n++) {
    const at = <usize>n << 2;
    let from = input + load<i32>(sources + at);
    let to = output + (targets ? load<i32>(targets + at) : n * step);
    const end = from + bytes;
    for (; from + 16 <= end; from += 16, to += 16) v128.store(to, v128.load(from));
    for (; from < end; from += 4, to += 4) store<f32>(to, load<f32>(from));
  }
}

/**
 * The largest value of each pixel's neighbourhood, channels last; places beyond the border do not count.
 *   0 input (pixels contiguous)   1 height   2 width   3 channels   4 output   5 outHeight   6 outWidth
 *   7 kernelHeight   8 kernelWidth   9 stride y   10 stride x   11 top   12 left
 */
export function maxPool(p: usize): void {
  const input = <usize>field(p, 0), height = field(p, 1), width = field(p, 2), channels = field(p, 3);
  let to = <usize>field(p, 4);
  for (let y = 0; y < field(p, 5); y++) {
    for (let x = 0; x < field(p, 6); x++) {
      for (let c = 0; c < channels; c++, to += 4) {
        let most: f32 = -Infinity;
        for (let i = 0; i < field(p, 7); i++) {
          const fromY = y * field(p, 9) - field(p, 11) + i;
          if (<u32>fromY >= <u32>height) continue;
          for (let j = 0; j < field(p, 8); j++) {
            const fromX = x * field(p, 10) - field(p, 12) + j;
            if (<u32>fromX >= <u32>width) continue;
            most = max<f32>(most, load<f32>(input + (<usize>((fromY * width + fromX) * channels + c) << 2)));
          }
        }
        store<f32>(to, most);
      }
    }
  }
}
