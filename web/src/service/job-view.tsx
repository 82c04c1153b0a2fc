import { useEffect, useState } from "preact/hooks";
import { JobClient } from "../../../src/client/job-client.ts";
import { isFinal, type JobStatus } from "../../../src/contracts/job-request.ts";
import type { ViewedScan } from "../data/session.ts";
import { ViewerPage } from "../viewer/viewer-page.tsx";
import { jobProgress, scanName, stateText } from "./job-text.ts";
import { OpenElsewhere } from "./open-elsewhere.tsx";

/** Time before a lost stream of events is opened again. */
const RECONNECT_MS = 2000;

interface JobViewProps {
  token: string;
  job: string;
  onBack: () => void;
}

/** One job: its progress, then its result over its scan. */
export function JobView({ token, job, onBack }: JobViewProps) {
  const { status, problem } = useStatus(token, job);
  const [scan, setScan] = useState<ViewedScan>();
  const [failure, setFailure] = useState<string>();
  const isDone = status?.state === "done";
  useEffect(() => {
    if (isDone)
      toScan(token, status!).then(setScan, (error: Error) => {
        setFailure(error.message);
      });
    // The status of a job that is done does not change.
  }, [token, job, isDone]);
  const back = (
    <button type="button" onClick={onBack}>
      All scans
    </button>
  );
  if (scan)
    return (
      <ViewerPage scan={scan}>
        {back}
        <OpenElsewhere token={token} job={job} />
      </ViewerPage>
    );
  const shown = failure ?? problem;
  return (
    <main class="plain here">
      {back}
      <h1>{status ? scanName(status) : "Job"}</h1>
      <div class="settings" aria-live="polite">
        <p>{status ? stateText(status) : "Reading …"}</p>
        {status && !isFinal(status.state) && (
          <progress value={jobProgress(status)} aria-label="Progress of the job" />
        )}
        {status?.error && <p class="warning">{status.error.message}</p>}
      </div>
      {shown && (
        <p role="alert" class="problem">
          {shown}
        </p>
      )}
    </main>
  );
}

/** The status of a job, as the service sends it, until the job ends. A broken connection is opened again. */
function useStatus(token: string, job: string) {
  const [status, setStatus] = useState<JobStatus>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    const controller = new AbortController();
    const client = new JobClient(location.origin, { token, signal: controller.signal });
    const follow = async () => {
      while (!controller.signal.aborted) {
        try {
          for await (const now of client.events(job)) {
            setStatus(now);
            setProblem(undefined);
            if (isFinal(now.state)) return;
          }
        } catch (error) {
          if (controller.signal.aborted) return;
          const { message, retryable } = error as Error & { retryable?: boolean };
          setProblem(retryable === false ? message : `${message}. The page tries again.`);
          if (retryable === false) return;
        }
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      }
    };
    void follow();
    return () => controller.abort();
  }, [token, job]);
  return { status, problem };
}

/** Where the result of a job and its scan are read. */
async function toScan(token: string, status: JobStatus): Promise<ViewedScan> {
  const below = (path: string) => ({
    kind: "server" as const,
    store: { base: `${location.origin}${path}`, token },
  });
  const { id } = status;
  const run = { key: "outputs", place: below(`/v1/jobs/${id}/`) };
  const headers = { Authorization: `Bearer ${token}` };
  const response = await fetch(`/v1/jobs/${id}/outputs/run.json`, { headers });
  if (!response.ok) throw new Error(`the results cannot be read (status ${response.status}); try again`);
  const { source } = (await response.json()) as { source: { name: string } };
  const base = `/v1/work/${id}/source/`;
  const first = await fetch(base + encodeURIComponent(source.name), {
    headers: { ...headers, Range: "bytes=0-0" },
  });
  await first.body?.cancel();
  if (first.status === 401 || first.status === 403)
    return {
      name: source.name,
      run,
      imageMissing: "This token may not read scans (it lacks the scope work), so the labels are shown alone.",
    };
  if (!first.ok && first.status !== 404)
    return { name: source.name, run, imageMissing: "The scan cannot be read: it was moved or replaced." };
  return { name: source.name, run, image: { key: source.name, place: below(base) } };
}
