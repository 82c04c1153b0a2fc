/** Time as the scheduler sees it; a simulation brings its own. */
export interface Clock {
  /** Milliseconds. */
  now(): number;
  /** Calls `then` once after `ms`; what comes back takes that back. */
  after(ms: number, then: () => void): () => void;
}
