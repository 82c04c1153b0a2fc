import { z } from "zod";
import { HttpError } from "../../../service/http-error.ts";
import { isObjectKey } from "../../shared/object-key.ts";

/** What every storage says in its own words, in ours. */
export interface StorageEvent {
  bucket: string;
  /** As the storage knows it, decoded. */
  key: string;
  /** Without quotes; "" of an object that is gone. */
  etag: string;
  byteLength?: number;
  /** Of a bucket that keeps versions. */
  version?: string;
  /** Orders the events of one key, where the storage gives it: a hexadecimal number of varying length. */
  sequencer?: string;
  action: "create" | "delete";
  provider: "r2" | "s3" | "minio";
}

/** What one message of a storage held. */
export interface ReadEvents {
  events: StorageEvent[];
  /** Deletions, test messages, and objects whose key no service of ours reads. */
  ignored: number;
}

/** Longer than a key may be: what is too long is ignored and not refused, for the sender would only send it again. */
export const rawKeySchema = z.string().min(1).max(16_384);
export const etagSchema = z.string().min(1).max(256).transform(bareEtag);
export const sizeSchema = z.int().nonnegative();
export const markSchema = z.string().max(1024);

/** The events whose object a job could read; the rest is counted. */
export function readable(found: readonly (StorageEvent | undefined)[]): ReadEvents {
  const events = found.filter((event) => event !== undefined && isObjectKey(event.key)) as StorageEvent[];
  return { events, ignored: found.length - events.length };
}

/** Whether two etags are of the same content, however each is written. */
export function isSameEtag(a: string, b: string): boolean {
  return bareEtag(a) === bareEtag(b);
}

/** An etag without the quotes that some answers and events wear and others do not. */
export function bareEtag(etag: string): string {
  return /^"(.*)"$/s.exec(etag)?.[1] ?? etag;
}

/** @throws {HttpError} 400 with the place of what does not fit */
export function parseEvent<T extends z.ZodType>(schema: T, value: unknown, sender: string): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw badEvent(`this is no message of ${sender}: ${path.join(".") || "the whole"}: ${message}`);
}

/** @throws {HttpError} 400 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw badEvent("the message is not JSON");
  }
}

export function badEvent(message: string): HttpError {
  return new HttpError(400, "bad_event", message);
}
