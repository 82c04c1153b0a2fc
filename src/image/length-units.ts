/** Micrometres per unit of length, by the names that microscopes and programs write. */
const MICROMETERS: ReadonlyMap<string, number> = new Map([
  ["m", 1e6],
  ["meter", 1e6],
  ["dm", 1e5],
  ["cm", 1e4],
  ["centimeter", 1e4],
  ["mm", 1e3],
  ["millimeter", 1e3],
  // The micro sign and the Greek letter; ImageJ writes the former as an escape.
  ["\u00b5m", 1],
  ["\u03bcm", 1],
  ["\\u00b5m", 1],
  ["um", 1],
  ["micron", 1],
  ["micrometer", 1],
  ["nm", 1e-3],
  ["nanometer", 1e-3],
  ["pm", 1e-6],
  ["picometer", 1e-6],
  ["\u00e5", 1e-4],
  ["angstrom", 1e-4],
  ["in", 25_400],
  ["inch", 25_400],
  ["\\u0022", 25_400],
  ["thou", 25.4],
]);

/** @returns undefined for an unknown unit, or one that is not a length ("pixel", "reference frame") */
export function micrometersPer(unit: string): number | undefined {
  const name = unit
    .trim()
    .toLowerCase()
    .replace(/metre(s?)$/, "meter$1");
  // Plurals of whole words only: "ms" is not a length.
  const singular = name.length > 5 ? name.replace(/s$/, "") : name;
  return MICROMETERS.get(singular) ?? MICROMETERS.get(singular.replace(/e$/, ""));
}
