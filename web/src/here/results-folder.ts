/** A folder that a run writes to as it goes. */
export interface ResultsFolder {
  handle: FileSystemDirectoryHandle;
  /** Its name, if the user chose where it lies; the tab's own has none to show. */
  name?: string;
  /** Removes it with all that is in it. */
  remove(): Promise<void>;
}

/** The part of the File System Access API that only some browsers have. */
interface DirectoryPicker {
  showDirectoryPicker?(options: { mode: "readwrite" }): Promise<FileSystemDirectoryHandle>;
}

export function canChooseFolder(): boolean {
  return (globalThis as DirectoryPicker).showDirectoryPicker !== undefined;
}

/** @returns an empty folder for the results of a scan, in one that the user chooses; undefined if they changed their mind */
export async function chooseResultsFolder(scan: string): Promise<ResultsFolder | undefined> {
  let chosen: FileSystemDirectoryHandle;
  try {
    chosen = await (globalThis as DirectoryPicker).showDirectoryPicker!({ mode: "readwrite" });
  } catch (error) {
    if ((error as Error).name === "AbortError") return undefined;
    throw error;
  }
  const name = await freeName(chosen, `${allowedName(scan)}-results`);
  return {
    handle: await chosen.getDirectoryHandle(name, { create: true }),
    name: `${chosen.name}/${name}`,
    remove: () => removeFolder(chosen, name),
  };
}

/** Browsers refuse names that some system does not have. */
function allowedName(name: string): string {
  return name.replace(/[\p{Cc}"*/:<>?\\|~]/gu, "_").replace(/^\.+/, "_");
}

/** The name, or with a number if something has it. */
async function freeName(folder: FileSystemDirectoryHandle, wanted: string): Promise<string> {
  const taken = new Set<string>();
  for await (const name of folder.keys()) taken.add(name);
  let name = wanted;
  for (let n = 2; taken.has(name); n++) name = `${wanted}-${n}`;
  return name;
}

/** Directory of the runs of all tabs, on the disk that the browser keeps for this page. */
const RUNS = "tab-runs";
const lockOf = (run: string) => `tilewright ${RUNS} ${run}`;

/**
 * A folder of this tab, on the disk that the browser keeps for the page: results do not fill the memory. It is removed when
 * the page is opened next, or starts another run. @returns undefined if the browser keeps none
 */
export async function createTabFolder(): Promise<ResultsFolder | undefined> {
  if (!navigator.locks || !globalThis.FileSystemFileHandle?.prototype.createWritable) return undefined;
  try {
    const top = await navigator.storage.getDirectory();
    const runs = await top.getDirectoryHandle(RUNS, { create: true });
    const name = crypto.randomUUID();
    const release = await hold(lockOf(name));
    return {
      handle: await runs.getDirectoryHandle(name, { create: true }),
      async remove() {
        await removeFolder(runs, name);
        release();
      },
    };
  } catch {
    // A private window, for instance.
    return undefined;
  }
}

/** Removes what tabs have left that are closed. */
export async function removeAbandonedRuns(): Promise<void> {
  if (!navigator.locks) return;
  try {
    const top = await navigator.storage.getDirectory();
    const runs = await top.getDirectoryHandle(RUNS);
    for await (const name of runs.keys()) {
      // A tab holds the lock of its run until it is closed.
      await navigator.locks.request(lockOf(name), { ifAvailable: true }, async (lock) => {
        if (lock) await runs.removeEntry(name, { recursive: true });
      });
    }
  } catch {
    // There are none, or the browser still has one open: the next page tries again.
  }
}

/** Holds a lock until the tab is closed. @returns a function that gives it back */
function hold(name: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, () => new Promise<void>((release) => resolve(() => release())))
      .catch(reject);
  });
}

/** Files that a worker had open are free some time after it has ended. */
const REMOVE_TRIES = 50;
const REMOVE_PAUSE_MS = 100;

async function removeFolder(parent: FileSystemDirectoryHandle, name: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await parent.removeEntry(name, { recursive: true });
    } catch (error) {
      if ((error as Error).name === "NotFoundError") return;
      if (tries === REMOVE_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, REMOVE_PAUSE_MS));
    }
  }
}
