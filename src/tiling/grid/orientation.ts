import type { Reorientation } from "./reorientation.ts";

/** The ends of each axis of the patient: from the first letter to the second. */
const AXIS_ENDS = ["LR", "PA", "IS"];

/** Whether a code names each axis of the patient once, for instance "RAS": the directions of i, j and k. */
export function isOrientation(code: string): boolean {
  return (
    code.length === 3 &&
    AXIS_ENDS.every((pair) => [...code].filter((letter) => pair.includes(letter)).length === 1)
  );
}

/** All 48 codes. */
export const ORIENTATIONS: readonly string[] = AXIS_ENDS.flatMap((_, a) =>
  AXIS_ENDS.flatMap((_, b) => (a === b ? [] : [[a, b, 3 - a - b]])),
).flatMap(([a, b, c]) =>
  Array.from({ length: 8 }, (_, n) =>
    [a!, b!, c!].map((pair, i) => AXIS_ENDS[pair]![(n >> i) & 1]!).join(""),
  ),
);

/**
 * The reorientation from a volume with the orientation `stored` to one with the orientation `wanted`. Both are codes as
 * from nibabel's `aff2axcodes`.
 */
export function reorientationBetween(stored: string, wanted: string): Reorientation {
  const from = [...stored];
  const found = [...wanted].map((letter) => {
    const pair = AXIS_ENDS.find((ends) => ends.includes(letter))!;
    const axis = from.findIndex((other) => pair.includes(other));
    return { axis, flip: from[axis] !== letter };
  });
  // Codes are fast to slow, axes are slow to fast.
  const slowToFast = found.toReversed();
  return { axes: slowToFast.map(({ axis }) => 2 - axis), flips: slowToFast.map(({ flip }) => flip) };
}
