import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeDicom } from "../builders/make-dicom.ts";

export interface MadeSeries {
  /** Columns, rows, slices. */
  size: readonly [number, number, number];
  /** Millimetres between columns, rows and slices. */
  step: readonly [number, number, number];
  /** Column by column, row by row, slice by slice. */
  data: readonly number[];
  /** Of the first sample, in millimetres to the patient's left, back and head. */
  position: readonly [number, number, number];
}

/** Writes a CT series, a file for each slice: slices are axial, their rows run to the patient's left and back. */
export function writeSeries(folder: string, { size, step, data, position }: MadeSeries): void {
  const [columns, rows, slices] = size;
  mkdirSync(folder, { recursive: true });
  for (let k = 0; k < slices; k++) {
    const samples = Int16Array.from(data.slice(k * columns * rows, (k + 1) * columns * rows));
    const elements = {
      524310: ["UI", "1.2.840.10008.5.1.4.1.1.2"],
      524312: ["UI", `1.2.3.${k + 1}`],
      524384: ["CS", "CT"],
      1572944: ["DS", [3]],
      2097166: ["UI", "1.2.3"],
      2097202: ["DS", [position[0], position[1], position[2] + k * step[2]]],
      2097207: ["DS", [1, 0, 0, 0, 1, 0]],
      2621442: ["US", 1],
      2621444: ["CS", "MONOCHROME2"],
      2621456: ["US", rows],
      2621457: ["US", columns],
      2621488: ["DS", [step[1], step[0]]],
      2621696: ["US", 16],
      2621697: ["US", 16],
      2621698: ["US", 15],
      2621699: ["US", 1],
    } as const;
    writeFileSync(join(folder, `${k}.dcm`), makeDicom({ elements, pixels: new Uint8Array(samples.buffer) }));
  }
}
