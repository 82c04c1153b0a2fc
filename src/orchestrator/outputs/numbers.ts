/**
 * Formats a number with at most `decimals` decimals, without an exponent in the range of measurements, in the same way
 * in every locale. Empty for undefined and NaN.
 */
export function decimal(value: number | undefined, decimals: number): string {
  if (value === undefined || !Number.isFinite(value)) return "";
  const scale = 10 ** decimals;
  const rounded = Math.round(value * scale) / scale;
  return String(rounded === 0 ? 0 : rounded);
}
