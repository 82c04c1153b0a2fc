// The kernels of the engine. AssemblyScript instead of C: `npm ci` brings its compiler to every machine that builds Tilewright.
export { attention } from "./attention";
export { depthwise } from "./depthwise";
export { copyRuns, elementwise, maxPool } from "./elementwise";
export { encodePlanes, softmaxPlanes } from "./probabilities";
export { padImage } from "./image";
export { productF32, productI4, productI8 } from "./product";
export { layerNorm, quantizeRows } from "./rows";
export { winograd } from "./winograd";

/** 1 if the relaxed multiply-add of this machine rounds once, 0 if it rounds twice. */
export function fusesMultiplyAdd(): i32 {
  const a = f32x4.splat(1.0 + 1.1920929e-7);
  const c = f32x4.splat(-1.0 - 2.3841858e-7);
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.extract_lane(f32x4.relaxed_madd(a, a, c), 0) != 0 ? 1 : 0;
  return 0;
}
