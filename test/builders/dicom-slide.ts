import { makeDicom } from "./make-dicom.ts";

const TILE = 64;

/**
 * One level of a generated DICOM slide: TILED_FULL, RGB, 0.5 µm at a downsample of 1, the same picture at every
 * level.
 */
export function makeSlideLevel(downsample: number, width = 400, height = 300): Uint8Array {
  const [columns, rows] = [Math.ceil(width / downsample), Math.ceil(height / downsample)];
  const [across, down] = [Math.ceil(columns / TILE), Math.ceil(rows / TILE)];
  const pixels = new Uint8Array(across * down * TILE * TILE * 3);
  for (let tile = 0, at = 0; tile < across * down; tile++) {
    for (let i = 0; i < TILE * TILE; i++, at += 3) {
      const x = ((tile % across) * TILE + (i % TILE)) * downsample;
      const y = (Math.floor(tile / across) * TILE + Math.floor(i / TILE)) * downsample;
      pixels.fill(127 + 127 * Math.sin(Math.hypot(x - width / 2, y - height / 2) / 20), at, at + 3);
    }
  }
  const spacing = 0.0005 * downsample;
  return makeDicom({
    elements: {
      524296: ["CS", "ORIGINAL\\PRIMARY\\VOLUME\\NONE"],
      524310: ["UI", "1.2.840.10008.5.1.4.1.1.77.1.6"],
      524312: ["UI", `1.2.840.999.5.${downsample}`],
      524384: ["CS", "SM"],
      2097165: ["UI", "1.2.840.999.3"],
      2097166: ["UI", "1.2.840.999.4"],
      2097234: ["UI", "1.2.840.999.6"],
      2134801: ["CS", "TILED_FULL"],
      2621442: ["US", 3],
      2621444: ["CS", "RGB"],
      2621446: ["US", 0],
      2621448: ["IS", String(across * down)],
      2621456: ["US", TILE],
      2621457: ["US", TILE],
      2621696: ["US", 8],
      2621697: ["US", 8],
      2621698: ["US", 7],
      2621699: ["US", 0],
      4718598: ["UL", columns],
      4718599: ["UL", rows],
      4719362: ["UL", 1],
      1375769129: ["SQ", [{ 2658576: ["SQ", [{ 2621488: ["DS", [spacing, spacing]] }]] }]],
    },
    pixels,
  });
}
