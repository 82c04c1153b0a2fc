import { joinBytes } from "./join-bytes.ts";

export interface BoundedRead {
  bytes: Uint8Array;
  /** Whether the body had more bytes. They were not read, and its connection is closed. */
  more: boolean;
}

/** Reads a body to its end or to `most` bytes: the caller limits the size, never the server. */
export async function readAtMost(
  body: AsyncIterable<Uint8Array> | null | undefined,
  most: number,
): Promise<BoundedRead> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  // Leaving the loop cancels the body.
  for await (const chunk of body ?? []) {
    const room = most - total;
    if (chunk.length > room) {
      chunks.push(chunk.subarray(0, room));
      return { bytes: joinBytes(chunks), more: true };
    }
    chunks.push(chunk);
    total += chunk.length;
  }
  return { bytes: joinBytes(chunks), more: false };
}

/** `Content-Range: bytes 0-0/1234`: the `first` byte, the number `after` the last, and the `total`. */
export interface ContentRange {
  first: number;
  after: number;
  total: number | undefined;
}

export function parseContentRange(header: string | null | undefined): ContentRange | undefined {
  const match = /^\s*bytes\s+(\d{1,15})-(\d{1,15})\/(?:(\d{1,15})|\*)\s*$/i.exec(header ?? "");
  if (!match) return undefined;
  const [first, last] = [Number(match[1]), Number(match[2])];
  if (last < first) return undefined;
  return { first, after: last + 1, total: match[3] === undefined ? undefined : Number(match[3]) };
}

/**
 * Why a range is not the requested one, completing "the host …"; undefined if it is.
 * @param offset negative: that many bytes from the end
 */
export function describeRangeMismatch(
  range: ContentRange | undefined,
  offset: number,
  length: number,
): string | undefined {
  if (range === undefined) return "answers with a range and does not say which bytes it has";
  const { first, after, total } = range;
  const expected = offset >= 0 ? offset : total === undefined ? undefined : Math.max(0, total + offset);
  const most = offset >= 0 ? length : -offset;
  const isEarly = offset >= 0 && total !== undefined && after < Math.min(total, offset + length);
  if ((expected === undefined || first === expected) && after - first <= most && !isEarly) return undefined;
  const asked = offset < 0 ? `the last ${-offset}` : `${offset} to ${offset + length - 1}`;
  return `answers with the bytes ${first} to ${after - 1} where ${asked} were asked for`;
}
