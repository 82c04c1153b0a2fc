import type { MessageBatch, R2Bucket } from "@cloudflare/workers-types";

/** What is counted stands in the log, one line each, for whoever started the stack. */
export function count(what: string): void {
  console.log(`counted ${what}`);
}

/** A bucket whose calls are counted. */
export function countedBucket(bucket: R2Bucket | undefined): R2Bucket | undefined {
  return (
    bucket &&
    new Proxy(bucket, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          count(`r2 ${String(name)}`);
          return value.apply(target, args);
        };
      },
    })
  );
}

/** Messages by queue, with the task that they are. */
export function countMessages({ queue, messages }: MessageBatch<unknown>): void {
  for (const { body } of messages) count(`message ${queue} ${JSON.stringify(body)}`);
}
