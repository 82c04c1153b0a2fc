import { describeImage } from "../image/describe.ts";
import { openSource } from "./open-source.ts";

/** Prints what an image holds. */
export async function inspectCommand(
  uri: string,
  options: { mpp?: number; json?: boolean; signal?: AbortSignal },
): Promise<void> {
  const { source, name, close } = await openSource(uri, options.mpp, options.signal);
  try {
    const description = describeImage(source);
    if (options.json) return void process.stdout.write(`${JSON.stringify({ name, ...description })}\n`);
    console.log(name);
    for (const [key, value] of Object.entries(description)) {
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
  return String(value);
}
