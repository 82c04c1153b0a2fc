/** Peak resident memory of this process. */
export function peakMemoryBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}
