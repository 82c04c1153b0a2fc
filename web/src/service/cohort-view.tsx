import { useEffect, useState } from "preact/hooks";
import { JobClient } from "../../../src/client/job-client.ts";
import {
  type CohortRowStatus,
  cohortStatusSchema,
  type RemoteCohortStatus,
  rowsPageSchema,
} from "../../../src/contracts/cohort-request.ts";
import type { CohortTableData } from "../cohort/cohort-rows.ts";
import { CohortTable } from "../cohort/cohort-table.tsx";

/** Time between looks at a cohort that runs. */
const REFRESH_MS = 5000;

/** A cohort of the service: its state and its scans. */
export function CohortView({ token, cohort }: { token: string; cohort: string }) {
  const { status, rows, problem } = useCohort(token, cohort);
  useEffect(() => {
    document.title = "Cohort – Tilewright";
  }, []);
  return (
    <main class="list wide">
      <header class="bar">
        <h1>Cohort</h1>
        <a href="/cohort">All cohorts</a>
        <a href="/">All scans</a>
      </header>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
      {status && (
        <p aria-live="polite">
          {status.state}: {status.rows.done} of {status.rows.total} done, {status.rows.failed} failed;{" "}
          {status.spentUsd.toFixed(2)} USD used{status.reason ? `; ${status.reason}` : ""}
        </p>
      )}
      {status && (
        <CohortTable
          data={toTable(rows)}
          hrefOf={(row) => (rows[row]!.job ? `/job?id=${rows[row]!.job}` : undefined)}
        />
      )}
    </main>
  );
}

/** The rows of a cohort, and their later changes while it runs. */
function useCohort(token: string, cohort: string) {
  const [status, setStatus] = useState<RemoteCohortStatus>();
  const [rows, setRows] = useState<readonly CohortRowStatus[]>([]);
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    const controller = new AbortController();
    const client = new JobClient(location.origin, { token, signal: controller.signal });
    const known = new Map<string, CohortRowStatus>();
    let cursor: string | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const path = `v1/cohorts/${cohort}`;
    const read = async () => {
      try {
        const now = await client.requestJson(cohortStatusSchema, "GET", path);
        for (let more = true; more; ) {
          const query = cursor === undefined ? "" : `?cursor=${cursor}`;
          const page = await client.requestJson(rowsPageSchema, "GET", `${path}/rows${query}`);
          for (const row of page.rows) known.set(row.id, row);
          ({ cursor, more } = page);
        }
        if (controller.signal.aborted) return;
        setStatus(now);
        setRows([...known.values()]);
        setProblem(undefined);
        if (now.state === "done" || now.state === "cancelled") return;
      } catch (error) {
        if (controller.signal.aborted) return;
        const { message, retryable } = error as Error & { retryable?: boolean };
        setProblem(retryable === false ? message : `${message}. The page tries again.`);
        if (retryable === false) return;
      }
      timer = setTimeout(() => void read(), REFRESH_MS);
    };
    void read();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [token, cohort]);
  return { status, rows, problem };
}

function toTable(rows: readonly CohortRowStatus[]): CohortTableData {
  return {
    columns: [
      { name: "id", isNumber: false },
      { name: "status", isNumber: false },
      { name: "code", isNumber: false },
      { name: "reason", isNumber: false },
      { name: "windows", isNumber: true },
      { name: "cost_usd", isNumber: true },
      { name: "source", isNumber: false },
    ],
    rows: rows.map(({ id, state, code, reason, windows, costUsd, source }) => [
      id,
      state,
      code ?? null,
      reason ?? null,
      windows ?? null,
      costUsd ?? null,
      source,
    ]),
  };
}
