import { build } from "vite";

/** Builds the web app into `dist/web`, once for all files of tests. */
export default async function setup(): Promise<void> {
  await build({ root: new URL("../../web", import.meta.url).pathname, logLevel: "warn" });
}
