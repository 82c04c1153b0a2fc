import { useCallback, useEffect, useState } from "preact/hooks";
import { JobClient, type JobPage } from "../../../src/client/job-client.ts";
import { isFinal, type JobState, type JobStatus } from "../../../src/contracts/job-request.ts";
import { adviceOf, jobProgress, regionText, scanName, stateText } from "./job-text.ts";
import { Thumbnail } from "./thumbnail.tsx";
import { Uploads } from "./uploads.tsx";

/** Time between looks at a list with running jobs. */
const REFRESH_MS = 3000;

const FILTERS: readonly [string, readonly JobState[] | undefined][] = [
  ["all", undefined],
  ["in progress", ["planning", "mapping", "merging", "finishing"]],
  ["done", ["done"]],
  ["failed", ["failed", "cancelled"]],
];

interface JobsPageProps {
  token: string;
  onOpen: (job: string) => void;
  onSignOut: () => void;
}

/** Uploads and jobs of the service. */
export function JobsPage({ token, onOpen, onSignOut }: JobsPageProps) {
  const [text, setText] = useState("");
  const [filter, setFilter] = useState(0);
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const { page, problem, refresh } = useJobs(token, text, FILTERS[filter]![1], cursors.at(-1));
  useEffect(() => {
    document.title = "Scans – Tilewright";
  }, []);
  return (
    <main class="list">
      <header class="bar">
        <h1>Scans</h1>
        <a href="/cohort">Cohorts</a>
        <a href="/docs">Routes</a>
        <button type="button" onClick={onSignOut}>
          Sign out
        </button>
      </header>
      <Uploads token={token} onStarted={(job, isOnly) => (isOnly ? onOpen(job) : refresh())} />
      <form class="row filters" onSubmit={(event) => event.preventDefault()}>
        <label>
          Name{" "}
          <input
            type="search"
            value={text}
            onInput={(event) => {
              setText(event.currentTarget.value);
              setCursors([]);
            }}
          />
        </label>
        <label>
          State{" "}
          <select
            value={filter}
            onChange={(event) => {
              setFilter(Number(event.currentTarget.value));
              setCursors([]);
            }}
          >
            {FILTERS.map(([name], i) => (
              <option key={name} value={i}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </form>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
      {page && <JobTable token={token} jobs={page.jobs} onOpen={onOpen} onChanged={refresh} />}
      {page?.jobs.length === 0 && <p class="note">No scan matches.</p>}
      <nav class="row" aria-label="Pages">
        <button
          type="button"
          disabled={cursors.length === 0}
          onClick={() => setCursors(cursors.slice(0, -1))}
        >
          Newer
        </button>
        <button
          type="button"
          disabled={page?.cursor === undefined}
          onClick={() => setCursors([...cursors, page!.cursor!])}
        >
          Older
        </button>
      </nav>
    </main>
  );
}

/** A page of the list. It is read again while a job of it is in progress and the tab is seen. */
function useJobs(token: string, text: string, states: readonly JobState[] | undefined, cursor?: string) {
  const [page, setPage] = useState<JobPage>();
  const [problem, setProblem] = useState<string>();
  const [turn, setTurn] = useState(0);
  const refresh = useCallback(() => setTurn((before) => before + 1), []);
  useEffect(() => {
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const client = new JobClient(location.origin, { token, signal: controller.signal });
    const read = async () => {
      let next = REFRESH_MS;
      try {
        const found = await client.jobs({ text: text || undefined, states, cursor });
        if (controller.signal.aborted) return;
        setPage(found);
        setProblem(undefined);
        if (found.jobs.every(({ state }) => isFinal(state))) next = 10 * REFRESH_MS;
      } catch (error) {
        if (controller.signal.aborted) return;
        setProblem(`${(error as Error).message}. The page tries again.`);
      }
      timer = setTimeout(() => (document.hidden ? wait() : void read()), next);
    };
    const wait = () => {
      timer = setTimeout(() => (document.hidden ? wait() : void read()), REFRESH_MS);
    };
    // After the last key of a search.
    timer = setTimeout(() => void read(), turn === 0 && text === "" ? 0 : 250);
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [token, text, states, cursor, turn]);
  return { page, problem, refresh };
}

interface JobTableProps {
  token: string;
  jobs: readonly JobStatus[];
  onOpen: (job: string) => void;
  onChanged: () => void;
}

function JobTable({ token, jobs, onOpen, onChanged }: JobTableProps) {
  const [problem, setProblem] = useState<string>();
  const act = async (action: (client: JobClient) => Promise<unknown>) => {
    try {
      await action(new JobClient(location.origin, { token }));
      setProblem(undefined);
    } catch (error) {
      setProblem((error as Error).message);
    }
    onChanged();
  };
  return (
    <>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
      <div class="scroll">
        <table class="jobs">
          <caption class="hidden">Scans and their jobs, newest first</caption>
          <thead>
            <tr>
              <th scope="col">Scan</th>
              <th scope="col">State</th>
              <th scope="col">Started</th>
              <th scope="col">Actions</th>
            </tr>
          </thead>
          <tbody>
            {jobs.map((job) => (
              <tr key={job.id}>
                <th scope="row">
                  <Thumbnail token={token} job={job} />
                  <button type="button" class="link" onClick={() => onOpen(job.id)}>
                    {scanName(job)}
                  </button>
                  {job.roi && <p class="note">{regionText(job)}</p>}
                </th>
                <td>
                  {stateText(job)}
                  {!isFinal(job.state) && (
                    <progress value={jobProgress(job)} aria-label={`Progress of ${scanName(job)}`} />
                  )}
                  {job.error && (
                    <p class="warning">
                      {job.error.message}. {adviceOf(job.error.code)}
                    </p>
                  )}
                </td>
                <td>{new Date(job.createdAt).toLocaleString()}</td>
                <td>
                  {isFinal(job.state) ? (
                    <>
                      {job.state !== "done" && (
                        <button type="button" onClick={() => void act((client) => client.retry(job.id))}>
                          Try again
                        </button>
                      )}
                      <button
                        type="button"
                        onClick={() =>
                          confirm(`Delete the results of ${scanName(job)}? The scan itself stays.`) &&
                          void act((client) => client.delete(job.id))
                        }
                      >
                        Delete
                      </button>
                    </>
                  ) : (
                    <button type="button" onClick={() => void act((client) => client.cancel(job.id))}>
                      Cancel
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
