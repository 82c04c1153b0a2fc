export interface RequestedRange {
  offset: number;
  length: number;
}

/**
 * Parses a `Range` header for a file of `byteLength` bytes (RFC 9110, 14.2).
 * @returns undefined for the whole file, also for several ranges and invalid headers; "unsatisfiable" for a range behind
 * the end
 */
export function byteRange(
  header: string | undefined,
  byteLength: number,
): RequestedRange | "unsatisfiable" | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(header?.replaceAll(/\s/g, "") ?? "");
  if (!match) return undefined;
  const [, first, last] = match as unknown as [string, string, string];
  if (first === "") {
    if (last === "") return undefined;
    const length = Math.min(Number(last), byteLength);
    return length === 0 ? "unsatisfiable" : { offset: byteLength - length, length };
  }
  const offset = Number(first);
  if (last !== "" && Number(last) < offset) return undefined;
  if (offset >= byteLength) return "unsatisfiable";
  const end = last === "" ? byteLength : Math.min(byteLength, Number(last) + 1);
  return { offset, length: end - offset };
}

/** Whether `If-None-Match` contains the etag. */
export function namesEtag(header: string | undefined, httpEtag: string): boolean {
  if (header === undefined) return false;
  const tags = header.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return tags.includes("*") || tags.includes(httpEtag);
}
