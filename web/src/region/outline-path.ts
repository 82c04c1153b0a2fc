import type { RegionPolygons } from "../../../src/orchestrator/region-polygons.ts";

type ToScreen = (world: number) => number;

/** The path of polygons with their holes, for the even-odd rule. */
export function outlinePath(polygons: RegionPolygons, x: ToScreen, y: ToScreen): string {
  return polygons
    .flatMap((rings) =>
      rings.map((ring) => `M${ring.map((corner) => `${x(corner[0])},${y(corner[1])}`).join("L")}Z`),
    )
    .join("");
}

/** A cross of 16 pixels. */
export function crossedPath({ x, y }: { x: number; y: number }): string {
  return `M${x - 8},${y}H${x + 8}M${x},${y - 8}V${y + 8}`;
}
