import { useEffect, useState } from "preact/hooks";
import type { MeasurementHistogram } from "./histogram.ts";
import { measurementName, measurementText } from "./measurement-names.ts";
import type { ObjectModel, TableRow } from "./object-model.ts";
import type { ViewerModel } from "./viewer-model.ts";

/** Objects: which are shown, the selected one, and the distribution of a measurement. */
export function ObjectPanel({ model, objects }: { model: ViewerModel; objects: ObjectModel }) {
  const { layer, count, column, progress } = objects;
  const { classes, measurements } = layer.opened;
  return (
    <section>
      <h2>Objects</h2>
      <label class="row">
        <input
          type="checkbox"
          checked={layer.isVisible}
          onChange={(event) => objects.setVisible(event.currentTarget.checked)}
        />
        <span>Show {count.toLocaleString("en")} objects</span>
      </label>
      {classes.length > 1 && <ClassSwitches objects={objects} />}
      <Selected model={model} objects={objects} />
      <label class="row">
        <span>Measurement</span>
        <select
          value={column?.name ?? ""}
          onChange={(event) => void objects.chooseColumn(event.currentTarget.value || undefined)}
        >
          <option value="">none</option>
          {measurements.map((name) => (
            <option key={name} value={name}>
              {measurementName(name)}
            </option>
          ))}
        </select>
      </label>
      {progress !== undefined && (
        <p class="note">
          Reading … <progress value={progress} aria-label="Share of the values that are read" />
        </p>
      )}
      {column && <Distribution objects={objects} histogram={column.histogram} name={column.name} />}
    </section>
  );
}

function ClassSwitches({ objects }: { objects: ObjectModel }) {
  const { layer } = objects;
  return (
    <ul class="classes">
      {layer.opened.classes.map(({ name, color }, i) => (
        <li key={name}>
          <label>
            <input
              type="checkbox"
              checked={!layer.hiddenClasses.has(i)}
              onChange={(event) => objects.setClassVisible(i, event.currentTarget.checked)}
            />
            <span class="swatch" style={{ background: `rgb(${color.join(",")})` }} />
            {name}
          </label>
        </li>
      ))}
    </ul>
  );
}

function Selected({ model, objects }: { model: ViewerModel; objects: ObjectModel }) {
  const { selected } = objects;
  if (selected === undefined)
    return <p class="note">Click an object, or choose one from the table below, to see its measurements.</p>;
  return (
    <div class="selected" aria-live="polite">
      <strong>{selected.details?.className ?? "Reading …"}</strong>
      <button type="button" onClick={() => void objects.goTo(selected)}>
        Go to
      </button>
      <button type="button" onClick={() => model.clearSelection()}>
        Clear
      </button>
      <dl>
        {selected.details?.values.map(([name, value]) => (
          <div key={name}>
            <dt>{measurementName(name)}</dt>
            <dd>{measurementText(value)}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

/** A histogram with two handles; the objects between them stay in the picture. */
function Distribution({
  objects,
  histogram,
  name,
}: {
  objects: ObjectModel;
  histogram: MeasurementHistogram;
  name: string;
}) {
  const { low, high, counts, total } = histogram;
  const range = objects.range ?? [low, high];
  const most = counts.reduce((a, b) => Math.max(a, b), 1);
  const step = (high - low) / counts.length;
  const handle = (side: 0 | 1) => (
    <input
      type="range"
      min={low}
      max={high}
      step={step / 4}
      value={Math.min(high, Math.max(low, range[side]))}
      aria-label={`${measurementName(name)}: ${side === 0 ? "at least" : "at most"}`}
      onInput={(event) => {
        const value = event.currentTarget.valueAsNumber;
        // At its end a handle lets the tail beyond the histogram through.
        const from = side === 0 ? (value <= low ? Number.NEGATIVE_INFINITY : value) : range[0];
        const to = side === 1 ? (value >= high ? Number.POSITIVE_INFINITY : value) : range[1];
        objects.setRange(from <= to ? [from, to] : [to, from]);
      }}
    />
  );
  return (
    <div class="distribution">
      <svg viewBox={`0 0 ${counts.length} 40`} preserveAspectRatio="none" aria-hidden="true">
        {Array.from(counts, (count, bin) => {
          const at = low + (bin + 0.5) * step;
          const isIn = at >= range[0] && at <= range[1];
          const height = (40 * count) / most;
          return (
            <rect key={at} class={isIn ? "in" : "out"} x={bin} y={40 - height} width={0.9} height={height} />
          );
        })}
      </svg>
      {handle(0)}
      {handle(1)}
      <p class="note">
        {rangeText(range, histogram)}.{" "}
        <span aria-live="polite">
          {objects.countInRange.toLocaleString("en")} of {total.toLocaleString("en")} are shown.
        </span>{" "}
        {objects.range && (
          <button type="button" onClick={() => objects.setRange(undefined)}>
            Show all
          </button>
        )}
      </p>
      <ObjectRows objects={objects} name={name} />
    </div>
  );
}

/** A handle at its end sets no limit: the tail beyond the histogram is let through. */
function rangeText([from, to]: readonly number[], { low, high }: MeasurementHistogram): string {
  const lowest = from! <= low ? `${measurementText(low)} or less` : measurementText(from!);
  const highest = to! >= high ? `${measurementText(high)} or more` : measurementText(to!);
  return `From ${lowest} to ${highest}`;
}

/** The objects with the largest or smallest values. */
function ObjectRows({ objects, name }: { objects: ObjectModel; name: string }) {
  const [rows, setRows] = useState<TableRow[]>([]);
  const { range, isAscending, column } = objects;
  useEffect(() => {
    let isOld = false;
    // After the handle has come to rest.
    const timer = setTimeout(() => {
      if (column)
        void objects.tableRows().then((found) => {
          if (!isOld) setRows(found);
        });
    }, 150);
    return () => {
      isOld = true;
      clearTimeout(timer);
    };
  }, [objects, column, range, isAscending]);
  return (
    <table class="objects">
      <caption class="hidden">Objects by {measurementName(name)}</caption>
      <thead>
        <tr>
          <th scope="col">Object</th>
          <th scope="col" aria-sort={isAscending ? "ascending" : "descending"}>
            <button type="button" onClick={() => objects.setAscending(!isAscending)}>
              {measurementName(name)} {isAscending ? "▲" : "▼"}
            </button>
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ place, number, value }) => (
          <tr key={number}>
            <td>
              <button type="button" onClick={() => void objects.goTo(place)}>
                {number}
              </button>
            </td>
            <td>{measurementText(value)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
