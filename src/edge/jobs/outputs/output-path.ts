/** Ids of jobs in URLs. */
export const JOB_ID = /^[0-9a-f]{32}$/;

const MAX_PATH_LENGTH = 1024;

/** Prefix of the results of a job in RESULTS. */
export function resultsPrefix(job: string): string {
  return `results/${job}/`;
}

/**
 * Decodes the path of an output from a URL.
 * @returns undefined for a path that could leave the folder of the job
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
