/**
 * A number as text with at most `decimals` decimals and no exponent in the range of measurements; the same in every
 * locale. Empty when there is no number.
 */
export function decimal(value: number | undefined, decimals: number): string {
  if (value === undefined || !Number.isFinite(value)) return "";
  const scale = 10 ** decimals;
  const rounded = Math.round(value * scale) / scale;
  return String(rounded === 0 ? 0 : rounded);
}
