/**
 * Hears of components as rows go by. Ids are the sink's own. A component is all runs whose ids were joined;
 * `run` is told for interior and grown pixels alike, each pixel once.
 */
export interface ComponentSink {
  /** A run that touches no run above it begins a component. */
  begin(kind: number): number;
  join(a: number, b: number): void;
  /** Pixels `[x0, x1)` of row `y` belong to component `id`. */
  interior(id: number, y: number, x0: number, x1: number): void;
  grown(id: number, y: number, x0: number, x1: number): void;
  /** Whether the component is large enough; asked only once it is certain. */
  keeps(id: number): boolean;
  /** Every interior run of row `y` has been told, and joined with those above. */
  interiorRowDone(y: number): void;
  /** Every run, grown ones too, of rows below `yEnd` has been told. */
  rowsDone(yEnd: number): void;
}
