/** Ids of jobs as they stand in addresses. */
export const JOB_ID = /^[0-9a-f]{32}$/;

const MAX_PATH_LENGTH = 1024;

/** Where the results of a job lie in RESULTS. */
export function resultsPrefix(job: string): string {
  return `results/${job}/`;
}

/**
 * The path of an output as it stands, encoded, in an address. Decoded once, and never out of the job's own folder:
 * undefined for what could lead there.
 */
export function outputPath(encoded: string): string | undefined {
  if (encoded.length > MAX_PATH_LENGTH * 3) return undefined;
  const segments: string[] = [];
  for (const part of encoded.split("/")) {
    let segment: string;
    try {
      segment = decodeURIComponent(part);
    } catch {
      return undefined;
    }
    if (segment === "" || segment === "." || segment === ".." || /[/\\\p{Cc}]/u.test(segment))
      return undefined;
    segments.push(segment);
  }
  return segments.join("/");
}
