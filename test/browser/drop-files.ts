import { readFileSync } from "node:fs";
import type { Page } from "playwright-core";

/** A file to drop, by its path on this machine and its name, or path in a dropped folder. */
export interface DroppedFile {
  path: string;
  name: string;
}

/** Drops files on the area with this accessible name, as a mouse would. */
export async function dropFiles(page: Page, area: string, files: readonly DroppedFile[]): Promise<void> {
  const given = files.map(({ path, name }) => ({ name, base64: readFileSync(path).toString("base64") }));
  const transfer = await page.evaluateHandle((list) => {
    const { DataTransfer, File, atob } = globalThis as unknown as {
      DataTransfer: new () => { items: { add(file: unknown): void } };
      File: new (parts: unknown[], name: string) => unknown;
      atob(text: string): string;
    };
    const data = new DataTransfer();
    for (const { name, base64 } of list)
      data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
    return data;
  }, given);
  const section = page.getByRole("region", { name: area, exact: true });
  await section.dispatchEvent("dragover", { dataTransfer: transfer });
  await section.dispatchEvent("drop", { dataTransfer: transfer });
  await transfer.dispose();
}

/**
 * Drops files or folders of this machine on an area with the mouse: Chromium takes them as from its window system, so the
 * page gets entries of directories, which no script can make.
 */
export async function dropByMouse(page: Page, area: string, paths: readonly string[]): Promise<void> {
  const box = (await page.getByRole("region", { name: area, exact: true }).boundingBox())!;
  const at = { x: box.x + box.width / 2, y: box.y + 12 };
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: [...paths], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"] as const)
    await session.send("Input.dispatchDragEvent", { type, ...at, data });
  await session.detach();
}
