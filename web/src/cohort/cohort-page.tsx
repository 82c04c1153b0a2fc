import { useEffect } from "preact/hooks";
import type { ViewedCohort } from "../data/session.ts";
import { CohortTable } from "./cohort-table.tsx";

/** A finished cohort of this machine. Each scan opens in the viewer. */
export function CohortPage({ cohort }: { cohort: ViewedCohort }) {
  useEffect(() => {
    document.title = `${cohort.name} – Tilewright`;
  }, [cohort.name]);
  return (
    <main class="list wide">
      <header class="bar">
        <h1>{cohort.name}</h1>
      </header>
      <p class="note">{cohort.model}</p>
      <CohortTable
        data={cohort}
        hrefOf={(row) => (cohort.withResults.includes(row) ? `/?scan=${row}` : undefined)}
      />
    </main>
  );
}
