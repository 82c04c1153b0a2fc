import { useEffect, useState } from "preact/hooks";
import { JobClient } from "../../../src/client/job-client.ts";
import type { RemoteCohortPage, RemoteCohortStatus } from "../../../src/contracts/cohort-request.ts";

/** Time between looks at a list with running cohorts. */
const REFRESH_MS = 5000;

const FILTERS: readonly [string, readonly RemoteCohortStatus["state"][] | undefined][] = [
  ["all", undefined],
  ["in progress", ["running", "paused"]],
  ["done", ["done"]],
  ["cancelled", ["cancelled"]],
];

/** The cohorts of the service, newest first. */
export function CohortsPage({ token }: { token: string }) {
  const [filter, setFilter] = useState(0);
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const { page, problem } = useCohorts(token, FILTERS[filter]![1], cursors.at(-1));
  useEffect(() => {
    document.title = "Cohorts – Tilewright";
  }, []);
  return (
    <main class="list">
      <header class="bar">
        <h1>Cohorts</h1>
        <a href="/">Scans</a>
      </header>
      <label class="row filters">
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
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
      {page && <CohortRows cohorts={page.cohorts} />}
      {page?.cohorts.length === 0 && <p class="note">No cohort matches.</p>}
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

function CohortRows({ cohorts }: { cohorts: readonly RemoteCohortStatus[] }) {
  return (
    <div class="scroll">
      <table class="jobs">
        <caption class="hidden">Cohorts, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Created</th>
            <th scope="col">State</th>
            <th scope="col">Scans</th>
            <th scope="col">Cost</th>
          </tr>
        </thead>
        <tbody>
          {cohorts.map(({ id, createdAt, state, reason, rows, spentUsd }) => (
            <tr key={id}>
              <th scope="row">
                <a href={`/cohort?id=${id}`}>{new Date(createdAt).toLocaleString()}</a>
                <p class="note">{id.slice(0, 8)}</p>
              </th>
              <td>
                {state}
                {reason && <p class="warning">{reason}</p>}
              </td>
              <td>
                {rows.done} of {rows.total} done
                {rows.failed > 0 && `, ${rows.failed} failed`}
                {rows.running > 0 && `, ${rows.running} running`}
              </td>
              <td>{spentUsd.toFixed(2)} USD</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A page of the list. It is read again while a cohort of it is in progress and the tab is seen. */
function useCohorts(
  token: string,
  states: readonly RemoteCohortStatus["state"][] | undefined,
  cursor: string | undefined,
) {
  const [page, setPage] = useState<RemoteCohortPage>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const client = new JobClient(location.origin, { token, signal: controller.signal });
    const read = async () => {
      let isBusy = true;
      if (!document.hidden) {
        try {
          const found = await client.cohorts({ states, cursor });
          if (controller.signal.aborted) return;
          setPage(found);
          setProblem(undefined);
          isBusy = found.cohorts.some(({ state }) => state === "running" || state === "paused");
        } catch (error) {
          if (controller.signal.aborted) return;
          setProblem(`${(error as Error).message}. The page tries again.`);
        }
      }
      timer = setTimeout(() => void read(), isBusy ? REFRESH_MS : 6 * REFRESH_MS);
    };
    void read();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [token, states, cursor]);
  return { page, problem };
}
