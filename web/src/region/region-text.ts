/** A region in words. @param polygons their number; undefined: a rectangle */
export function regionText(roi: readonly number[], polygons: number | undefined): string {
  const parts =
    polygons === undefined ? "" : polygons === 1 ? "1 polygon in a " : `${polygons} polygons in a `;
  return `${parts}region ${roi[2]} × ${roi[3]} at ${roi[0]}, ${roi[1]}`;
}
