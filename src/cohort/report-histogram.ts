const WIDTH = 220;
const HEIGHT = 110;
const BASE = HEIGHT - 18;

/** A histogram as SVG, with equal steps from the least to the greatest value (number of bins: Sturges' rule). */
export function histogramSvg(values: readonly number[], label: string): string {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const v of values) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  const bins = high > low ? Math.min(24, Math.ceil(Math.log2(values.length)) + 1) : 1;
  const counts = new Array<number>(bins).fill(0);
  for (const v of values) counts[Math.min(bins - 1, Math.floor(((v - low) / (high - low || 1)) * bins))]!++;
  const largest = Math.max(...counts);
  const step = WIDTH / bins;
  const bars = counts.map((n, i) => {
    const height = (n / largest) * (BASE - 12);
    return `<rect x="${(i * step + 0.5).toFixed(1)}" y="${(BASE - height).toFixed(1)}" width="${(step - 1).toFixed(1)}" height="${height.toFixed(1)}"/>`;
  });
  const caption = `${label}: ${values.length} scans, from ${short(low)} to ${short(high)}`;
  const plain = caption.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${plain}">${bars.join("")}<line x1="0" y1="${BASE}" x2="${WIDTH}" y2="${BASE}"/><text x="0" y="${HEIGHT - 4}">${short(low)}</text><text x="${WIDTH}" y="${HEIGHT - 4}" text-anchor="end">${short(high)}</text><text x="${WIDTH}" y="9" text-anchor="end">${largest}</text></svg>`;
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}
