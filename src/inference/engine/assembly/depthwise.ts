import { activate4, field, madd } from "./lanes";

/** The first tap that is not before the border. */
// @ts-ignore: decorator
@inline
function firstTap(start: i32, dilation: i32): i32 {
  if (start >= 0) return 0;
  return dilation == 1 ? -start : (dilation - 1 - start) / dilation;
}

/** The number of taps up to the last one that is not beyond the border. */
// @ts-ignore: decorator
@inline
function endOfTaps(start: i32, dilation: i32, size: i32, taps: i32): i32 {
  const room = dilation == 1 ? size - start : (size - start + dilation - 1) / dilation;
  return min(taps, room);
}

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
    const firstY = firstTap(startY, dilationY);
    const endY = endOfTaps(startY, dilationY, height, kernelHeight);
    for (let x = 0; x < outWidth; x++, to += pixel, other += pixel) {
      const startX = x * field(p, 14) - field(p, 18);
      const firstX = firstTap(startX, dilationX);
      const endX = endOfTaps(startX, dilationX, width, kernelWidth);
      let c: usize = 0;
      // Sixteen channels at a time: a tap's address is found once for them.
      for (; c + 64 <= pixel; c += 64) {
        let sum0 = v128.load(bias + c), sum1 = v128.load(bias + c, 16);
        let sum2 = v128.load(bias + c, 32), sum3 = v128.load(bias + c, 48);
        for (let i = firstY; i < endY; i++) {
          let m = (startY + i * dilationY) * width + startX + firstX * dilationX;
          let weights = <usize>field(p, 9) + <usize>(i * kernelWidth + firstX) * pixel + c;
          for (let j = firstX; j < endX; j++, m += dilationX, weights += pixel) {
            const from = input + (table ? load<i32>(table + (<usize>m << 2)) : m * pixelStep) + c;
            sum0 = madd(v128.load(weights), v128.load(from), sum0);
            sum1 = madd(v128.load(weights, 16), v128.load(from, 16), sum1);
            sum2 = madd(v128.load(weights, 32), v128.load(from, 32), sum2);
            sum3 = madd(v128.load(weights, 48), v128.load(from, 48), sum3);
          }
        }
        if (residual) {
          sum0 = f32x4.add(sum0, v128.load(other + c));
          sum1 = f32x4.add(sum1, v128.load(other + c, 16));
          sum2 = f32x4.add(sum2, v128.load(other + c, 32));
          sum3 = f32x4.add(sum3, v128.load(other + c, 48));
        }
        v128.store(to + c, activate4(sum0, activation));
        v128.store(to + c, activate4(sum1, activation), 16);
        v128.store(to + c, activate4(sum2, activation), 32);
        v128.store(to + c, activate4(sum3, activation), 48);
      }
      for (; c < pixel; c += 16) {
        let sum = v128.load(bias + c);
        for (let i = firstY; i < endY; i++) {
          let m = (startY + i * dilationY) * width + startX + firstX * dilationX;
          let weights = <usize>field(p, 9) + <usize>(i * kernelWidth + firstX) * pixel + c;
          for (let j = firstX; j < endX; j++, m += dilationX, weights += pixel) {
            const from = input + (table ? load<i32>(table + (<usize>m << 2)) : m * pixelStep) + c;
            sum = madd(v128.load(weights), v128.load(from), sum);
          }
        }
        if (residual) sum = f32x4.add(sum, v128.load(other + c));
        v128.store(to + c, activate4(sum, activation));
      }
    }
  }
}
