import { activate4, field, madd } from "./lanes";

/**
 * Depthwise convolution, channels last; taps beyond the border are 0.
 *   0 input   1 offsets of pixels, or 0   2 distance of pixels   3 height   4 width   5 channels
 *   6 output [outHeight][outWidth][channels]   7 outHeight   8 outWidth
 *   9 weights [kernelHeight][kernelWidth][channels]   10 bias   11 kernelHeight   12 kernelWidth
 *  13 stride y   14 stride x   15 dilation y   16 dilation x   17 top   18 left
 *  19 residual as the output, or 0   20 activation
 */
export function depthwise(p: usize): void {
  const input = <usize>field(p, 0), table = <usize>field(p, 1), pixelStep = field(p, 2);
  const height = field(p, 3), width = field(p, 4), channels = field(p, 5);
  const outHeight = field(p, 7), outWidth = field(p, 8);
  const kernelHeight = field(p, 11), kernelWidth = field(p, 12);
  const dilationX = field(p, 16), dilationY = field(p, 15);
  const residual = <usize>field(p, 19), activation = field(p, 20), bias = <usize>field(p, 10);
  const pixel = <usize>(channels << 2);
  let to = <usize>field(p, 6);
  let other = residual;
  for (let y = 0; y < outHeight; y++) {
    const startY = y * field(p, 13) - field(p, 17);
    for (let x = 0; x < outWidth; x++, to += pixel, other += pixel) {
      const startX = x * field(p, 14) - field(p, 18);
      let c: usize = 0;
      for (; c < pixel; c += 32) {
        const half = c + 16 >= pixel;
        let sum0 = v128.load(bias + c);
        let sum1 = half ? sum0 : v128.load(bias + c, 16);
        let weights = <usize>field(p, 9) + c;
        let fromY = startY;
        for (let i = 0; i < kernelHeight; i++, fromY += dilationY) {
          if (<u32>fromY >= <u32>height) {
            weights += <usize>kernelWidth * pixel;
            continue;
          }
          let fromX = startX;
          for (let j = 0; j < kernelWidth; j++, fromX += dilationX, weights += pixel) {
            if (<u32>fromX >= <u32>width) continue;
            const m = fromY * width + fromX;
            const from = input + (table ? load<i32>(table + (<usize>m << 2)) : m * pixelStep) + c;
            sum0 = madd(v128.load(weights), v128.load(from), sum0);
            if (!half) sum1 = madd(v128.load(weights, 16), v128.load(from, 16), sum1);
          }
        }
        if (residual) {
          sum0 = f32x4.add(sum0, v128.load(other + c));
          if (!half) sum1 = f32x4.add(sum1, v128.load(other + c, 16));
        }
        v128.store(to + c, activate4(sum0, activation));
        if (!half) v128.store(to + c, activate4(sum1, activation), 16);
      }
    }
  }
}
