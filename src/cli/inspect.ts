import { describeImage } from "../image/describe.ts";
import { openSource } from "./open-source.ts";

/** Prints what an image holds. */
export async function inspectCommand(
  uri: string,
  options: { mpp?: number; series?: number; json?: boolean; signal?: AbortSignal },
): Promise<void> {
  const { source, name, close } = await openSource(uri, options.mpp, options.signal, options.series);
  try {
    const description = describeImage(source);
    if (options.json) return void process.stdout.write(`${JSON.stringify({ name, ...description })}\n`);
    console.log(name);
    const { affine, details, ...rest } = description;
    const rows = affine?.slice(0, 3).map((row) => ({ x: row[0], y: row[1], z: row[2], origin: row[3] }));
    for (const [key, value] of Object.entries({ ...rest, affine: rows, ...details })) {
      if (Array.isArray(value) && value.some((v) => typeof v === "object")) {
        console.log(`  ${key}`);
        for (const [i, v] of value.entries()) console.log(`    ${i}  ${flat(v)}`);
      } else if (value !== undefined) console.log(`  ${key}  ${flat(value)}`);
    }
  } finally {
    await close();
  }
}

function flat(value: unknown): string {
  if (Array.isArray(value)) return value.map(flat).join(" × ");
  if (value === null || value === undefined) return "not stated";
  if (typeof value === "object") {
    return Object.entries(value)
      .filter(([, v]) => v !== undefined)
      .map(([k, v]) => `${k} ${flat(v)}`)
      .join(", ");
  }
  // Sums and products of decimals print as they were meant.
  return typeof value === "number" ? String(Number(value.toPrecision(12))) : String(value);
}
