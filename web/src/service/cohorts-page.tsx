import { useEffect, useState } from "preact/hooks";
import type { JobClient } from "../../../src/client/job-client.ts";
import type { RemoteCohortPage, RemoteCohortStatus } from "../../../src/contracts/cohort-request.ts";
import { Pager, StateFilter, type StateFilters, useServiceList } from "./list-controls.tsx";

const FILTERS: StateFilters<RemoteCohortStatus["state"]> = [
  ["all", undefined],
  ["in progress", ["running", "paused"]],
  ["done", ["done"]],
  ["cancelled", ["cancelled"]],
];

/** The cohorts of the service, newest first. */
export function CohortsPage({ token }: { token: string }) {
  const [filter, setFilter] = useState(0);
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const query = { states: FILTERS[filter]![1], cursor: cursors.at(-1) };
  const { page, problem } = useServiceList(token, query, readCohorts, isAnyInProgress);
  useEffect(() => {
    document.title = "Cohorts – Tilewright";
  }, []);
  return (
    <main class="list">
      <header class="bar">
        <h1>Cohorts</h1>
        <a href="/">Scans</a>
      </header>
      <div class="row filters">
        <StateFilter
          filters={FILTERS}
          value={filter}
          onChange={(value) => {
            setFilter(value);
            setCursors([]);
          }}
        />
      </div>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
      {page && <CohortRows cohorts={page.cohorts} />}
      {page?.cohorts.length === 0 && <p class="note">No cohort matches.</p>}
      <Pager cursors={cursors} next={page?.cursor} onChange={setCursors} />
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

interface CohortQuery {
  states: readonly RemoteCohortStatus["state"][] | undefined;
  cursor: string | undefined;
}

const readCohorts = (client: JobClient, query: CohortQuery) => client.cohorts(query);

const isAnyInProgress = ({ cohorts }: RemoteCohortPage) =>
  cohorts.some(({ state }) => state === "running" || state === "paused");
