/**
 * Receives the runs of components row by row. The sink chooses the ids. A component is the set of runs whose ids were
 * joined; each pixel, interior or grown, is in exactly one run.
 */
export interface ComponentSink {
  /** A run that touches no run above it starts a component. */
  begin(kind: number): number;
  join(a: number, b: number): void;
  /** Pixels `[x0, x1)` of row `y` belong to component `id`. */
  interior(id: number, y: number, x0: number, x1: number): void;
  grown(id: number, y: number, x0: number, x1: number): void;
  /** Whether the component is large enough; called only when its size is final or sufficient. */
  keeps(id: number): boolean;
  /** All interior runs of row `y` were reported and joined with those above. */
  interiorRowDone(y: number): void;
  /** All runs, grown ones included, of rows before `yEnd` were reported. */
  rowsDone(yEnd: number): void;
}
