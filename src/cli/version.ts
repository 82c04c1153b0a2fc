import { readFileSync } from "node:fs";

/** The version in package.json, two folders up from the sources and from the build alike. */
export function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
