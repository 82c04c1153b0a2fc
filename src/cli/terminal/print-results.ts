import type { RunManifest } from "../../orchestrator/manifest/run-manifest.ts";

/** Lists the files of a finished run, and counts or volumes of what was found. */
export function printResults(out: string, { outputs = [], summary }: Partial<RunManifest>): void {
  for (const { name, byteLength } of outputs) console.log(`${out}/${name}  ${formatBytes(byteLength)}`);
  console.log(`${out}/run.json`);
  if (summary === undefined) return;
  if ("objects" in summary) for (const { name, count } of summary.objects) console.log(`${count} × ${name}`);
  else
    for (const { name, voxels, volumeMl } of summary.structures)
      console.log(
        `${name}  ${volumeMl === undefined ? `${voxels} voxels` : `${volumeMl.toPrecision(4)} ml`}`,
      );
}

function formatBytes(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(1)} kB`;
  return `${(n / 1e6).toFixed(1)} MB`;
}
