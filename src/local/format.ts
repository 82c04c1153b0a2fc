export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

export function usd(amount: number): string {
  if (amount === 0) return "0 USD";
  return `${amount < 0.01 ? amount.toPrecision(2) : amount.toFixed(2)} USD`;
}
