import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks of /proc in a second: Linux has 100 on every machine. */
const TICKS = 100;
const SAMPLE_MS = 200;

/** Processes of the browser: Chromium's that descend from this process. */
function* browserProcesses(): Generator<{ pid: string; command: string }> {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      if (/chrom/.test(command) && isOurs(pid)) yield { pid, command };
    } catch {
      // It has ended.
    }
  }
}

/** Whether a process descends from this one. */
function isOurs(pid: string): boolean {
  for (let at = pid; at !== "0" && at !== "1"; ) {
    if (at === String(process.pid)) return true;
    at = /PPid:\s+(\d+)/.exec(readFileSync(`/proc/${at}/status`, "utf8"))![1]!;
  }
  return false;
}

/** Resident memory of each page process, in bytes. */
export function rendererMemory(): number[] {
  const sizes: number[] = [];
  for (const { pid, command } of browserProcesses()) {
    if (!command.includes("--type=renderer")) continue;
    const found = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    sizes.push(Number(found?.[1] ?? 0) * 1024);
  }
  return sizes;
}

/** Resident memory of the largest page process, in bytes. */
export function pageMemory(): number {
  return Math.max(0, ...rendererMemory());
}

/** CPU seconds of the browser so far, all processes together. */
export function browserCpuSeconds(): number {
  let ticks = 0;
  for (const { pid } of browserProcesses()) {
    // After the name in parentheses: utime and stime are fields 14 and 15 of proc(5).
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS;
}

/** The largest `pageMemory` while `act` runs, looked at five times a second. */
export async function peakPageMemory<T>(act: () => Promise<T>): Promise<{ value: T; peak: number }> {
  let peak = pageMemory();
  const timer = setInterval(() => {
    peak = Math.max(peak, pageMemory());
  }, SAMPLE_MS);
  try {
    const value = await act();
    return { value, peak: Math.max(peak, pageMemory()) };
  } finally {
    clearInterval(timer);
  }
}
