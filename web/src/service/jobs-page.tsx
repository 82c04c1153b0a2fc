import { useEffect, useState } from "preact/hooks";
import { JobClient, type JobPage } from "../../../src/client/job-client.ts";
import { isFinal, type JobState, type JobStatus } from "../../../src/contracts/job-request.ts";
import { regionText } from "../region/region-text.ts";
import { adviceOf, jobProgress, scanName, stateText } from "./job-text.ts";
import { Pager, StateFilter, type StateFilters, useServiceList } from "./list-controls.tsx";
import { Thumbnail } from "./thumbnail.tsx";
import { Uploads } from "./uploads.tsx";

/** After the last key of a search. */
const TYPING_MS = 250;

const FILTERS: StateFilters<JobState> = [
  ["all", undefined],
  ["in progress", ["planning", "mapping", "merging", "finishing"]],
  ["done", ["done"]],
  ["failed", ["failed", "cancelled"]],
];

interface JobsPageProps {
  token: string;
  onOpen: (job: string) => void;
  onOpenUpload: (upload: string) => void;
  onSignOut: () => void;
}

/** Uploads and jobs of the service. */
export function JobsPage({ token, onOpen, onOpenUpload, onSignOut }: JobsPageProps) {
  const [text, setText] = useState("");
  const [filter, setFilter] = useState(0);
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const query = { text: text || undefined, states: FILTERS[filter]![1], cursor: cursors.at(-1) };
  const delayMs = text === "" ? 0 : TYPING_MS;
  const { page, problem, refresh } = useServiceList(token, query, readJobs, isAnyInProgress, delayMs);
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
      <Uploads
        token={token}
        onStarted={(job, isOnly) => (isOnly ? onOpen(job) : refresh())}
        onStored={onOpenUpload}
      />
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
        <StateFilter
          filters={FILTERS}
          value={filter}
          onChange={(value) => {
            setFilter(value);
            setCursors([]);
          }}
        />
      </form>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
      {page && <JobTable token={token} jobs={page.jobs} onOpen={onOpen} onChanged={refresh} />}
      {page?.jobs.length === 0 && <p class="note">No scan matches.</p>}
      <Pager cursors={cursors} next={page?.cursor} onChange={setCursors} />
    </main>
  );
}

interface JobQuery {
  text: string | undefined;
  states: readonly JobState[] | undefined;
  cursor: string | undefined;
}

const readJobs = (client: JobClient, query: JobQuery) => client.jobs(query);

const isAnyInProgress = ({ jobs }: JobPage) => !jobs.every(({ state }) => isFinal(state));

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
                  {job.roi && <p class="note">{regionText(job.roi, job.polygons)}</p>}
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
