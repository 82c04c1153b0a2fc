import * as z from "zod";
import { HttpError } from "../../../service/http-error.ts";
import { isObjectKey } from "../../shared/object-key.ts";

/** A storage event, whatever storage it comes from. */
export interface StorageEvent {
  bucket: string;
  /** Decoded. */
  key: string;
  /** Without quotes; "" for a deleted object. */
  etag: string;
  byteLength?: number;
  /** Only in buckets with versions. */
  version?: string;
  /** Orders the events of one key: a hexadecimal number of varying length. Not all storages have it. */
  sequencer?: string;
  action: "create" | "delete";
  provider: "r2" | "s3" | "minio";
}

/** The content of one message. */
export interface ReadEvents {
  events: StorageEvent[];
  /** Number of deletions, test messages, and objects with keys that no service reads. */
  ignored: number;
}

/** Longer than a valid key: overlong keys are ignored, because a sender would repeat a rejected message. */
export const rawKeySchema = z.string().min(1).max(16_384);
export const etagSchema = z.string().min(1).max(256).transform(bareEtag);
export const sizeSchema = z.int().nonnegative();
export const markSchema = z.string().max(1024);

/** Keeps events whose object a job can read, and counts the others. */
export function readable(found: readonly (StorageEvent | undefined)[]): ReadEvents {
  const events = found.filter((event) => event !== undefined && isObjectKey(event.key)) as StorageEvent[];
  return { events, ignored: found.length - events.length };
}

/** Compares etags, with or without quotes. */
export function isSameEtag(a: string, b: string): boolean {
  return bareEtag(a) === bareEtag(b);
}

/** Removes the quotes that some responses and events have. */
export function bareEtag(etag: string): string {
  return /^"(.*)"$/s.exec(etag)?.[1] ?? etag;
}

/** @throws {HttpError} 400 with the path of the invalid field */
export function parseEvent<T extends z.ZodType>(schema: T, value: unknown, sender: string): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw badEvent(`this is not a message of ${sender}: ${path.join(".") || "the whole"}: ${message}`);
}

/** @throws {HttpError} 400 */
export function parseJsonText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw badEvent("the message is not JSON");
  }
}

export function badEvent(message: string): HttpError {
  return new HttpError(400, "bad_event", message);
}
