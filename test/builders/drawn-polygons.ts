import fc from "fast-check";

export type Corner = readonly [x: number, y: number];
export type Polygon = readonly (readonly Corner[])[];

/** Simple polygons within an image, some with a hole: corners around a centre, in the order of their angles. */
export function drawnPolygon(width: number, height: number): fc.Arbitrary<Polygon> {
  return fc
    .record({
      x: fc.double({ min: 0.1, max: 0.9, noNaN: true }),
      y: fc.double({ min: 0.1, max: 0.9, noNaN: true }),
      radii: fc.array(fc.double({ min: 0.05, max: 1, noNaN: true }), { minLength: 3, maxLength: 9 }),
      reach: fc.double({ min: 0.05, max: 1, noNaN: true }),
      hasHole: fc.boolean(),
    })
    .map(({ x: cx, y: cy, radii, reach, hasHole }) => {
      const x = cx * width;
      const y = cy * height;
      const most = reach * Math.min(x, y, width - x, height - y);
      const around = (part: number) =>
        radii.map((radius, i): Corner => {
          const angle = (2 * Math.PI * i) / radii.length;
          const r = part * radius * most;
          return [x + r * Math.cos(angle), y + r * Math.sin(angle)];
        });
      return hasHole ? [around(1), around(0.5)] : [around(1)];
    });
}

/** Whether a point is inside an odd number of rings, by the definition: crossings of a ray to the right. */
export function isInside(polygon: Polygon, x: number, y: number): boolean {
  let inside = false;
  for (const ring of polygon) {
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [[xi, yi], [xj, yj]] = [ring[i]!, ring[j]!];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
    }
  }
  return inside;
}
