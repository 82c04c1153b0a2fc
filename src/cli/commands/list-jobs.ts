import { type Command, Option } from "commander";
import { JobClient } from "../../client/job-client.ts";
import { JOB_STATES, type JobState, type JobStatus } from "../../contracts/job-request.ts";
import type { CommandContext } from "../options/context.ts";
import { parseCount } from "../options/parsers.ts";
import { resolveToken, type ServiceFlags, withServiceOptions } from "../options/shared-options.ts";

/** Jobs of one answer of the service. */
const PAGE = 100;

interface ListFlags extends ServiceFlags {
  state?: JobState[];
  search?: string;
  limit: number;
  json?: boolean;
}

/** `jobs list`: newest first, as a table or as JSON lines. */
export function addListCommand(jobs: Command, { signal }: CommandContext): void {
  withServiceOptions(jobs.command("list").description("list jobs, newest first"))
    .addOption(new Option("--state <state...>", "only jobs in these states").choices([...JOB_STATES]))
    .option("--search <text>", "only jobs whose source has this text in its address")
    .option("--limit <n>", "number of jobs at most", parseCount, 20)
    .option("--json", "as JSON lines")
    .action(async (flags: ListFlags) => {
      const client = new JobClient(flags.server, { token: resolveToken(flags), signal });
      const found = await listJobs(client, flags);
      if (flags.json) for (const job of found) process.stdout.write(`${JSON.stringify(job)}\n`);
      else if (found.length === 0) console.log("no jobs");
      else for (const line of toTable(found)) console.log(line);
    });
}

async function listJobs(client: JobClient, { state, search, limit }: ListFlags): Promise<JobStatus[]> {
  const found: JobStatus[] = [];
  let cursor: string | undefined;
  do {
    const query = { limit: Math.min(PAGE, limit - found.length), cursor, text: search, states: state };
    const page = await client.jobs(query);
    found.push(...page.jobs);
    cursor = page.cursor;
  } while (cursor !== undefined && found.length < limit);
  return found;
}

function toTable(jobs: readonly JobStatus[]): string[] {
  const rows = [
    ["job", "state", "windows", "model", "begun", "source"],
    ...jobs.map(({ id, state, windows, model, createdAt, source }) => [
      id,
      state,
      windows ? `${windows.done}/${windows.total}` : "",
      [model.name, model.variant].filter(Boolean).join(" "),
      createdAt.slice(0, 19).replace("T", " "),
      source.uri,
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}
