import { useEffect, useMemo, useState } from "preact/hooks";
import { JobClient } from "../../../src/client/job-client.ts";
import { isFinal, type JobStatus } from "../../../src/contracts/job-request.ts";
import type { PlacedKey } from "../data/place.ts";
import { RunningLabels } from "../data/running-labels.ts";
import type { ViewedScan } from "../data/session.ts";
import { regionTools } from "../region/open-region-tools.ts";
import { ViewerPage } from "../viewer/viewer-page.tsx";
import { CompareJobs } from "./compare-jobs.tsx";
import { JobProgress } from "./job-progress.tsx";
import { jobRegion } from "./job-region.ts";
import { adviceOf, scanName, stateText } from "./job-text.ts";
import { OpenElsewhere } from "./open-elsewhere.tsx";

/** Time before a lost stream of events is opened again. */
const RECONNECT_MS = 2000;

interface JobViewProps {
  token: string;
  job: string;
  /** Another job of the same scan, to compare with. */
  other?: string;
  onBack: () => void;
  onOpen: (job: string) => void;
}

/** One job: its scan, the labels as they are merged, then its result. */
export function JobView({ token, job, other, onBack, onOpen }: JobViewProps) {
  const [turn, setTurn] = useState(0);
  const { status, problem } = useStatus(token, job, turn);
  const { scan, failure } = useScan(token, job, other, status);
  const tools = useMemo(() => regionTools(jobRegion(token, job, onOpen)), [token, job]);
  const back = (
    <button type="button" onClick={onBack}>
      All scans
    </button>
  );
  const shown = failure ?? problem;
  const isDone = status?.state === "done";
  if (scan && status && (isDone || !isFinal(status.state)))
    // One element for both, so that the view stays when the job is done.
    return (
      <ViewerPage scan={scan} tools={scan.image && tools}>
        {!isDone && <JobProgress token={token} status={status} problem={shown} />}
        {back}
        {isDone && <CompareJobs token={token} status={status} other={other} />}
        {isDone && <OpenElsewhere token={token} job={job} />}
      </ViewerPage>
    );
  return (
    <main class="plain here">
      {back}
      <h1>{status ? scanName(status) : "Job"}</h1>
      <div class="settings" aria-live="polite">
        <p>{status ? stateText(status) : "Reading …"}</p>
        {status?.error && <p class="warning">{status.error.message}.</p>}
        {status?.error && <p>{adviceOf(status.error.code)}</p>}
        {status && isFinal(status.state) && status.state !== "done" && (
          <RetryButton
            token={token}
            job={job}
            onStarted={(id) => (id === job ? setTurn((before) => before + 1) : onOpen(id))}
          />
        )}
      </div>
      {shown && (
        <p role="alert" class="problem">
          {shown}
        </p>
      )}
    </main>
  );
}

/** Starts a job again that failed or was cancelled. */
function RetryButton({
  token,
  job,
  onStarted,
}: {
  token: string;
  job: string;
  onStarted: (job: string) => void;
}) {
  const [problem, setProblem] = useState<string>();
  const retry = async () => {
    try {
      const { id } = await new JobClient(location.origin, { token }).retry(job);
      setProblem(undefined);
      onStarted(id);
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <>
      <button type="button" onClick={() => void retry()}>
        Try again
      </button>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
    </>
  );
}

/** The status of a job, as the service sends it, until the job ends. A broken connection is opened again. */
function useStatus(token: string, job: string, turn: number) {
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
  }, [token, job, turn]);
  return { status, problem };
}

/** The scan of a job with what there is of its labels. A new object follows each merge, and the end of the job. */
function useScan(token: string, job: string, other: string | undefined, status: JobStatus | undefined) {
  const [base, setBase] = useState<ViewedScan>();
  const [run, setRun] = useState<PlacedKey>();
  const [failure, setFailure] = useState<string>();
  const [running, setRunning] = useState<RunningLabels>();
  const name = status && scanName(status);
  const isDone = status?.state === "done";
  useEffect(() => {
    const controller = new AbortController();
    setRunning(new RunningLabels(job, token, controller.signal));
    return () => controller.abort();
  }, [token, job]);
  useEffect(() => {
    if (name === undefined) return;
    setFailure(undefined);
    findImage(token, job, name, isDone).then(
      (found) => setBase((before) => (before?.image && found.image ? before : found)),
      (error: Error) => setFailure(error.message),
    );
    if (isDone) setRun({ key: "outputs", place: below(token, `/v1/jobs/${job}/`) });
  }, [token, job, name, isDone]);
  const merged = status?.merges?.done ?? 0;
  const scan = useMemo(
    // `merged` is no part of the scan: it says that there is more to see.
    () =>
      base && {
        ...base,
        ...(run ? { run } : { running }),
        ...(other && { otherRun: { key: "outputs", place: below(token, `/v1/jobs/${other}/`) } }),
      },
    [base, run, running, merged, other],
  );
  return { scan, failure };
}

function below(token: string, path: string) {
  return { kind: "server" as const, store: { base: `${location.origin}${path}`, token } };
}

/** Where the scan of a job is read, or why it cannot be. */
async function findImage(token: string, job: string, given: string, isDone: boolean): Promise<ViewedScan> {
  const headers = { Authorization: `Bearer ${token}` };
  let name = given;
  if (isDone) {
    const response = await fetch(`/v1/jobs/${job}/outputs/run.json`, { headers });
    if (!response.ok) throw new Error(`the results cannot be read (status ${response.status}); try again`);
    name = ((await response.json()) as { source: { name: string } }).source.name;
  }
  const base = `/v1/jobs/${job}/source/`;
  const first = await fetch(base + encodeURIComponent(name), {
    headers: { ...headers, Range: "bytes=0-0" },
  });
  await first.body?.cancel();
  if (first.status === 401 || first.status === 403)
    return {
      name,
      imageMissing:
        "This token may not read scans (it lacks the scope source), so the labels are shown alone.",
    };
  if (!first.ok && first.status !== 404)
    return { name, imageMissing: "The scan cannot be read: it was moved or replaced." };
  const place = below(token, base);
  // A source of many objects, a DICOM series, is listed.
  const list = `${location.origin}/v1/jobs/${job}/source`;
  return { name, image: { key: name, place: { ...place, store: { ...place.store, list } } } };
}
