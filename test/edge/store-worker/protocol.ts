/** One call of the store in the Worker; bytes are sent as numbers. */
export interface StoreCall {
  prefix: string;
  method: "head" | "get" | "getRange" | "put" | "list" | "objects";
  /** The prefix for `list`. */
  key: string;
  offset?: number;
  length?: number;
  bytes?: number[];
  ifMatch?: string;
  ifNoneMatch?: "*";
  aborted?: boolean;
  maxWholeBytes?: number;
}

export interface StoreReply {
  /** Absent for `undefined`. */
  value?: unknown;
  error?: { name: string; message: string; retryable?: boolean };
}
