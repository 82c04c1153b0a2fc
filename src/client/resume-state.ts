import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir, platform } from "node:os";
import { join } from "node:path";

/** What identifies an upload: the scan's state, the service, and the requested job. */
export interface UploadIdentity {
  path: string;
  byteLength: number;
  /** Changes with the content: a file's time of modification; a directory's etag over all its files. */
  version: number | string;
  url: string;
  request: object | null;
}

/**
 * Remembers the id of an upload between runs of the command, in the user's state directory and never beside the scan.
 * If it cannot be stored, the upload is only not resumed.
 */
export class ResumeState {
  readonly #file: string;

  constructor(identity: UploadIdentity, directory = stateDirectory()) {
    const { path, byteLength, version, url, request } = identity;
    const text = JSON.stringify([path, byteLength, version, url, request]);
    this.#file = join(directory, `${createHash("sha256").update(text).digest("hex")}.json`);
  }

  read(): string | undefined {
    if (!existsSync(this.#file)) return undefined;
    try {
      const { id } = JSON.parse(readFileSync(this.#file, "utf8")) as { id?: unknown };
      return typeof id === "string" && /^[\w-]{1,128}$/.test(id) ? id : undefined;
    } catch {
      return undefined;
    }
  }

  write(id: string): void {
    try {
      mkdirSync(join(this.#file, ".."), { recursive: true, mode: 0o700 });
      const temporary = `${this.#file}.${process.pid}`;
      writeFileSync(temporary, JSON.stringify({ id }), { mode: 0o600 });
      renameSync(temporary, this.#file);
    } catch {
      // An upload also works without a writable home directory.
    }
  }

  clear(): void {
    rmSync(this.#file, { force: true });
  }
}

/** The user's state directory (XDG, Apple's and Microsoft's guidelines). */
export function stateDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  const { XDG_STATE_HOME, LOCALAPPDATA } = environment;
  if (XDG_STATE_HOME) return join(XDG_STATE_HOME, "tilewright", "uploads");
  if (platform() === "win32" && LOCALAPPDATA) return join(LOCALAPPDATA, "tilewright", "uploads");
  if (platform() === "darwin")
    return join(homedir(), "Library", "Application Support", "tilewright", "uploads");
  return join(homedir(), ".local", "state", "tilewright", "uploads");
}
