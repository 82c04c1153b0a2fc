import { execFileSync } from "node:child_process";

const python = process.env.TILEWRIGHT_PYTHON ?? "python3";

/** Whether Python has the packages of a script that makes test files; says which are missing otherwise. */
export function canMakeFiles(script: string): boolean {
  try {
    execFileSync(python, [script, "--can-run"], { stdio: "ignore" });
    return true;
  } catch {
    console.log(
      `skipped: ${python} lacks the packages of ${script}; name one that has them in TILEWRIGHT_PYTHON`,
    );
    return false;
  }
}

/** Runs Python. @returns what it prints */
export function runPython(args: readonly string[]): string {
  return execFileSync(python, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a script that writes its files into `directory`. */
export function makeFiles(script: string, directory: string): void {
  runPython([script, directory]);
}
