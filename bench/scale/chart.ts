export interface Series {
  name: string;
  points: readonly (readonly [number, number])[];
  /** Drawn as a reference line. */
  dashed?: boolean;
}

export interface Chart {
  title: string;
  x: Axis;
  y: Axis;
  series: readonly Series[];
}

interface Axis {
  label: string;
  log?: boolean;
  /** Positions of ticks; default: chosen. */
  ticks?: readonly number[];
}

const WIDTH = 640;
const HEIGHT = 320;
const LEFT = 70;
const RIGHT = 20;
const TOP = 34;
const BOTTOM = 66;
/** Colours for readers with red-green colour blindness: Okabe and Ito 2008. */
const COLORS = ["#2b8cce", "#d55e00", "#009e73", "#cc79a7"];

/** A line chart as SVG that reads on light and on dark pages; the same input gives the same text. */
export function lineChart({ title, x, y, series }: Chart): string {
  const all = series.flatMap((s) => s.points);
  const placeX = scale(
    x,
    all.map(([v]) => v),
    LEFT,
    WIDTH - RIGHT,
  );
  const placeY = scale(
    y,
    all.map(([, v]) => v),
    HEIGHT - BOTTOM,
    TOP,
  );
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}">`,
    "<style>text{font:12px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:13px}.g{stroke:#8884}path{fill:none;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>",
    `<text class="t" x="${LEFT}" y="18">${escaped(title)}</text>`,
  ];
  for (const tick of placeY.ticks) {
    const at = placeY.place(tick);
    parts.push(
      `<line class="g" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/>`,
      `<text x="${LEFT - 8}" y="${round(at + 4)}" text-anchor="end">${short(tick)}</text>`,
    );
  }
  for (const tick of placeX.ticks) {
    const at = placeX.place(tick);
    parts.push(
      `<line class="g" x1="${at}" x2="${at}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>`,
      `<text x="${at}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${short(tick)}</text>`,
    );
  }
  parts.push(
    `<text x="${WIDTH - RIGHT}" y="${HEIGHT - BOTTOM + 32}" text-anchor="end">${escaped(x.label)}</text>`,
    `<text x="${LEFT}" y="${HEIGHT - BOTTOM + 32}">↑ ${escaped(y.label)}</text>`,
  );
  let color = 0;
  series.forEach(({ name, points, dashed }, n) => {
    const stroke = dashed ? "#888" : COLORS[color++ % COLORS.length]!;
    const line = points.map(([a, b]) => `${placeX.place(a)} ${placeY.place(b)}`).join("L");
    const style = `stroke="${stroke}"${dashed ? ' stroke-dasharray="5 4"' : ""}`;
    const at = LEFT + n * ((WIDTH - LEFT - RIGHT) / series.length);
    parts.push(
      `<path d="M${line}" ${style}/>`,
      `<path d="M${round(at)} ${HEIGHT - 14}h18" ${style}/>`,
      `<text x="${round(at + 24)}" y="${HEIGHT - 10}">${escaped(name)}</text>`,
    );
  });
  return `${parts.join("\n")}\n</svg>\n`;
}

function scale(axis: Axis, values: readonly number[], from: number, to: number) {
  const high = Math.max(...values);
  const low = axis.log ? Math.min(...values) : 0;
  const ticks = axis.ticks ?? (axis.log ? powers(low, high) : steps(high));
  const first = Math.min(low, ticks[0]!);
  const highest = Math.max(high, ticks.at(-1)!);
  // Ticks that are almost equal would overlap on a logarithmic axis.
  const last = highest > first * (1 + 1e-6) ? highest : 10 * first;
  const position = axis.log ? Math.log : (v: number) => v;
  return {
    ticks,
    place: (v: number) =>
      round(from + ((to - from) * (position(v) - position(first))) / (position(last) - position(first))),
  };
}

function powers(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let p = Math.floor(Math.log10(low)); 10 ** p <= high * 1.01; p++) ticks.push(10 ** p);
  return ticks;
}

/** Four to eight round numbers from 0. */
function steps(high: number): number[] {
  const power = 10 ** Math.floor(Math.log10(high / 4));
  const step = power * [1, 2, 5, 10].find((f) => high / (power * f) <= 8)!;
  return Array.from({ length: Math.ceil(high / step - 1e-9) + 1 }, (_, n) => n * step);
}

function short(value: number): string {
  if (value >= 1e6) return `${round(value / 1e6)} M`;
  return value >= 10_000 ? `${round(value / 1e3)} k` : `${round(value)}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
