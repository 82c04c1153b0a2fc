import { useState } from "preact/hooks";
import { JobClient } from "../../../src/client/job-client.ts";
import type { JobStatus } from "../../../src/contracts/job-request.ts";
import { regionText } from "../region/region-text.ts";

/** Jobs of one scan that are offered. */
const MOST = 20;

/** Other jobs of the same scan that are done: each opens beside this one, on the two sides of a line. */
export function CompareJobs({ token, status, other }: { token: string; status: JobStatus; other?: string }) {
  const [jobs, setJobs] = useState<readonly JobStatus[]>();
  const [problem, setProblem] = useState<string>();
  const open = async () => {
    if (jobs) return setJobs(undefined);
    try {
      const client = new JobClient(location.origin, { token });
      const { uri, etag } = status.source;
      const found: JobStatus[] = [];
      let cursor: string | undefined;
      do {
        const page = await client.jobs({ text: uri, states: ["done"], cursor });
        found.push(
          ...page.jobs.filter(
            ({ id, source }) => id !== status.id && source.uri === uri && source.etag === etag,
          ),
        );
        cursor = page.cursor;
      } while (cursor !== undefined && found.length < MOST);
      setJobs(found.slice(0, MOST));
      setProblem(undefined);
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <div class="elsewhere">
      <button type="button" aria-expanded={jobs !== undefined} onClick={() => void open()}>
        Compare
      </button>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
      {jobs && (
        <section aria-label="Compare">
          {jobs.length === 0 && <p>No other job of this scan is done.</p>}
          <ul>
            {jobs.map((job) => (
              <li key={job.id}>
                {job.id === other ? (
                  <strong>{jobText(job)} (shown)</strong>
                ) : (
                  <a href={`/job?id=${status.id}&with=${job.id}`}>{jobText(job)}</a>
                )}
              </li>
            ))}
            {other && (
              <li>
                <a href={`/job?id=${status.id}`}>This job alone</a>
              </li>
            )}
          </ul>
        </section>
      )}
    </div>
  );
}

function jobText(job: JobStatus): string {
  const { name, variant } = job.model;
  const parts = [
    `${name}${variant ? ` ${variant}` : ""}`,
    new Date(job.createdAt).toLocaleString(),
    ...(job.roi ? [regionText(job.roi, job.polygons)] : []),
  ];
  return parts.join(", ");
}
