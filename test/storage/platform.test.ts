import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";

/** The only files of the reading floors that may need Node: everything else also runs in Workers and browsers. */
const NODE_ONLY = ["storage/fs-store.ts", "storage/open-address.ts"];

test("only the listed files import modules of Node", async () => {
  const source = new URL("../../src/", import.meta.url);
  const found: string[] = [];
  for (const floor of ["storage", "image"]) {
    for (const name of await readdir(new URL(`${floor}/`, source), { recursive: true })) {
      // Writers are their own concern.
      if (!name.endsWith(".ts") || name.startsWith("write")) continue;
      const text = await readFile(new URL(`${floor}/${name}`, source), "utf8");
      if (/from "node:|import\("node:|\bBuffer\./.test(text)) found.push(`${floor}/${name}`);
    }
  }
  expect(found.sort()).toEqual(NODE_ONLY);
});
