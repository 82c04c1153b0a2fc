/** Time as the scheduler sees it. Tests and simulations pass a virtual clock. */
export interface Clock {
  /** Milliseconds since any fixed moment. */
  now(): number;
  /** Calls `callback` once after `ms`. @returns cancels the call */
  after(ms: number, callback: () => void): () => void;
}
