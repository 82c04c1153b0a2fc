import { useCallback, useEffect, useState } from "preact/hooks";
import { JobClient } from "../../../src/client/job-client.ts";

/** Time between looks at a list of which something is in progress. */
const BUSY_MS = 3000;
const IDLE_MS = 10 * BUSY_MS;

/** Names of states that a list can be limited to. */
export type StateFilters<State> = readonly (readonly [name: string, states: readonly State[] | undefined])[];

interface StateFilterProps {
  filters: StateFilters<unknown>;
  /** Index of the chosen one. */
  value: number;
  onChange: (value: number) => void;
}

export function StateFilter({ filters, value, onChange }: StateFilterProps) {
  return (
    <label>
      State{" "}
      <select value={value} onChange={(event) => onChange(Number(event.currentTarget.value))}>
        {filters.map(([name], i) => (
          <option key={name} value={i}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

interface PagerProps {
  /** Where the pages after the first begin, up to the one that is shown. */
  cursors: readonly string[];
  /** Where the next page begins, if there is one. */
  next: string | undefined;
  onChange: (cursors: readonly string[]) => void;
}

export function Pager({ cursors, next, onChange }: PagerProps) {
  return (
    <nav class="row" aria-label="Pages">
      <button type="button" disabled={cursors.length === 0} onClick={() => onChange(cursors.slice(0, -1))}>
        Newer
      </button>
      <button type="button" disabled={next === undefined} onClick={() => onChange([...cursors, next!])}>
        Older
      </button>
    </nav>
  );
}

/**
 * A page of a list of the service. It is read again while the tab is seen: often if something on it is in progress.
 * @param read must stay the same function: what differs between pages is in the query
 * @param delayMs before the first read, for instance until the last key of a search
 */
export function useServiceList<Query, Page>(
  token: string,
  query: Query,
  read: (client: JobClient, query: Query) => Promise<Page>,
  isBusy: (page: Page) => boolean,
  delayMs = 0,
) {
  const [page, setPage] = useState<Page>();
  const [problem, setProblem] = useState<string>();
  const [turn, setTurn] = useState(0);
  const refresh = useCallback(() => setTurn((before) => before + 1), []);
  const key = JSON.stringify(query);
  useEffect(() => {
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const client = new JobClient(location.origin, { token, signal: controller.signal });
    const look = async () => {
      let next = BUSY_MS;
      if (!document.hidden) {
        try {
          const found = await read(client, JSON.parse(key) as Query);
          if (controller.signal.aborted) return;
          setPage(found);
          setProblem(undefined);
          if (!isBusy(found)) next = IDLE_MS;
        } catch (error) {
          if (controller.signal.aborted) return;
          setProblem(`${(error as Error).message}. The page tries again.`);
        }
      }
      timer = setTimeout(() => void look(), next);
    };
    timer = setTimeout(() => void look(), delayMs);
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [token, key, turn, delayMs, read, isBusy]);
  return { page, problem, refresh };
}
