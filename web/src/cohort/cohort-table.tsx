import { useMemo, useState } from "preact/hooks";
import { makeHistogram } from "../viewer/histogram.ts";
import {
  type CohortCell,
  type CohortFilter,
  type CohortOrder,
  type CohortTableData,
  filterRows,
  sortRows,
} from "./cohort-rows.ts";

const PAGE_ROWS = 100;
const BINS = 40;
/** Columns that are shown at first, if the table has them; the others are a click away. */
const FIRST_COLUMNS =
  /^(?:id|status|code|reason|flags|tissue_fraction|count_|density_|volume_|windows|cost_usd)/;

interface CohortTableProps {
  data: CohortTableData;
  /** Address of the viewer of a row, if it has results. */
  hrefOf: (row: number) => string | undefined;
}

/** All scans of a cohort: sorted, filtered, and with the distribution of one column. */
export function CohortTable({ data, hrefOf }: CohortTableProps) {
  const [filter, setFilter] = useState<CohortFilter>({ text: "", status: "", flaggedOnly: false });
  const [order, setOrder] = useState<CohortOrder>({ column: -1, isAscending: true });
  const [page, setPage] = useState(0);
  const [isWide, setWide] = useState(false);
  const change = (part: Partial<CohortFilter>) => {
    setFilter({ ...filter, ...part });
    setPage(0);
  };
  const shown = useMemo(() => {
    const found = filterRows(data, filter);
    return order.column < 0 ? found : sortRows(data, found, order);
  }, [data, filter, order]);
  const columns = data.columns.flatMap((column, i) =>
    isWide || FIRST_COLUMNS.test(column.name) ? [{ ...column, i }] : [],
  );
  const statuses = useMemo(() => distinct(data, "status"), [data]);
  const hasFlags = data.columns.some(({ name }) => name === "flags");
  const last = Math.max(0, Math.ceil(shown.length / PAGE_ROWS) - 1);
  return (
    <>
      <form class="row filters" onSubmit={(event) => event.preventDefault()}>
        <label>
          Text{" "}
          <input
            type="search"
            value={filter.text}
            onInput={(event) => change({ text: event.currentTarget.value })}
          />
        </label>
        <label>
          State{" "}
          <select value={filter.status} onChange={(event) => change({ status: event.currentTarget.value })}>
            <option value="">all</option>
            {statuses.map((status) => (
              <option key={status} value={status}>
                {status}
              </option>
            ))}
          </select>
        </label>
        {hasFlags && (
          <label>
            <input
              type="checkbox"
              checked={filter.flaggedOnly}
              onChange={(event) => change({ flaggedOnly: event.currentTarget.checked })}
            />{" "}
            Flagged only
          </label>
        )}
        <label>
          <input
            type="checkbox"
            checked={isWide}
            onChange={(event) => setWide(event.currentTarget.checked)}
          />{" "}
          All columns
        </label>
        <output>
          {shown.length.toLocaleString("en")} of {data.rows.length.toLocaleString("en")} scans
        </output>
      </form>
      <Distribution data={data} filter={filter} onChange={change} />
      {/* A table that scrolls must be reachable with the keyboard: its buttons and links are. */}
      <div class="scroll">
        <table class="jobs">
          <caption class="hidden">Scans of the cohort</caption>
          <thead>
            <tr>
              {columns.map(({ name, i }) => (
                <th
                  key={name}
                  scope="col"
                  aria-sort={order.column !== i ? "none" : order.isAscending ? "ascending" : "descending"}
                >
                  <button
                    type="button"
                    class="link"
                    onClick={() =>
                      setOrder({ column: i, isAscending: order.column === i ? !order.isAscending : true })
                    }
                  >
                    {name.replaceAll("_", " ")}
                    {order.column === i ? (order.isAscending ? " ↑" : " ↓") : ""}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS).map((row) => (
              <tr key={row}>
                {columns.map(({ name, i }) => {
                  const text = cellText(data.rows[row]![i]!);
                  if (name !== "id") return <td key={name}>{text}</td>;
                  const href = hrefOf(row);
                  return (
                    <th key={name} scope="row">
                      {href ? <a href={href}>{text}</a> : text}
                    </th>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {last > 0 && (
        <nav class="row" aria-label="Pages">
          <button type="button" disabled={page === 0} onClick={() => setPage(page - 1)}>
            Previous
          </button>
          <span>
            {page + 1} of {last + 1}
          </span>
          <button type="button" disabled={page >= last} onClick={() => setPage(page + 1)}>
            Next
          </button>
        </nav>
      )}
    </>
  );
}

/** The values of a column over all scans. Two limits keep a part of them. */
function Distribution({
  data,
  filter,
  onChange,
}: {
  data: CohortTableData;
  filter: CohortFilter;
  onChange: (part: Partial<CohortFilter>) => void;
}) {
  const [column, setColumn] = useState(-1);
  const numbers = useMemo(
    () =>
      data.columns.flatMap(({ name, isNumber }, i) =>
        isNumber && data.rows.some((row) => typeof row[i] === "number") ? [{ name, i }] : [],
      ),
    [data],
  );
  const histogram = useMemo(() => {
    if (column < 0) return undefined;
    const values = data.rows.map((row) => row[column]).filter((value) => typeof value === "number");
    return {
      low: Math.min(...values),
      high: Math.max(...values),
      ...{ drawn: makeHistogram([Float32Array.from(values)], BINS) },
    };
  }, [data, column]);
  const most = histogram ? Math.max(1, ...histogram.drawn.counts) : 1;
  const { low, high } = filter.range ?? { low: histogram?.low ?? 0, high: histogram?.high ?? 0 };
  const limit = (side: "low" | "high") => (
    <label class="row">
      <span>{side === "low" ? "From" : "To"}</span>
      <input
        type="range"
        min={histogram!.low}
        max={histogram!.high}
        step="any"
        value={side === "low" ? low : high}
        aria-valuetext={cellText(side === "low" ? low : high)}
        onInput={(event) =>
          onChange({ range: { column, low, high, [side]: event.currentTarget.valueAsNumber } })
        }
      />
      <output>{cellText(side === "low" ? low : high)}</output>
    </label>
  );
  if (numbers.length === 0) return null;
  return (
    <section class="distribution cohort">
      <label>
        Distribution of{" "}
        <select
          value={column}
          onChange={(event) => {
            setColumn(Number(event.currentTarget.value));
            onChange({ range: undefined });
          }}
        >
          <option value={-1}>nothing</option>
          {numbers.map(({ name, i }) => (
            <option key={name} value={i}>
              {name.replaceAll("_", " ")}
            </option>
          ))}
        </select>
      </label>
      {histogram && (
        <>
          <svg viewBox={`0 0 ${BINS} 32`} preserveAspectRatio="none" aria-hidden="true">
            {[...histogram.drawn.counts].map((count, bin) => {
              const { low: from, high: to } = histogram.drawn;
              const middle = from + ((bin + 0.5) / BINS) * (to - from);
              const height = (30 * count) / most;
              return (
                <rect
                  key={bin}
                  class={middle >= low && middle <= high ? "in" : "out"}
                  x={bin}
                  y={32 - height}
                  width={0.9}
                  height={height}
                />
              );
            })}
          </svg>
          {limit("low")}
          {limit("high")}
        </>
      )}
    </section>
  );
}

function distinct({ columns, rows }: CohortTableData, name: string): string[] {
  const at = columns.findIndex((column) => column.name === name);
  return [...new Set(rows.map((row) => row[at]).filter((value) => typeof value === "string"))].sort();
}

function cellText(cell: CohortCell): string {
  if (cell === null) return "";
  if (typeof cell === "string") return cell;
  return Number.isInteger(cell) ? cell.toLocaleString("en") : String(Number(cell.toPrecision(4)));
}
