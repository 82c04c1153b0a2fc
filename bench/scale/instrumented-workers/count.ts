import type { MessageBatch, R2Bucket } from "@cloudflare/workers-types";

/** Writes a count to the log, one line each. */
export function count(what: string): void {
  console.log(`counted ${what}`);
}

/** A bucket that counts its calls. */
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

/** Counts messages by queue, with their task. */
export function countMessages({ queue, messages }: MessageBatch<unknown>): void {
  for (const { body } of messages) count(`message ${queue} ${JSON.stringify(body)}`);
}
