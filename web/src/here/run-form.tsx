import { useEffect, useRef, useState } from "preact/hooks";
import type { LocalFile } from "../data/file-store.ts";
import type { ServedModel } from "../data/session.ts";
import type { ChosenScan } from "./choose-files.ts";
import { ProgressReport, type RunProgress, takeProgress } from "./run-progress.tsx";
import { startTabRun, type TabRun } from "./tab-run.ts";

/** More workers compete for memory bandwidth, and each holds the model. */
const MAX_THREADS = 8;

interface RunFormProps {
  scan: ChosenScan;
  models: readonly ServedModel[];
  /** Given the files of the finished run. */
  onDone: (files: readonly LocalFile[]) => void;
  onProblem: (problem?: string) => void;
  onBack: () => void;
}

/** Settings of a run, and its progress. */
export function RunForm({ scan, models, onDone, onProblem, onBack }: RunFormProps) {
  const [model, setModel] = useState(models[0]!);
  const [mpp, setMpp] = useState("");
  const [run, setRun] = useState<TabRun>();
  const [progress, setProgress] = useState<RunProgress>({});
  const running = useRef<TabRun>(undefined);
  useEffect(() => () => running.current?.stop(), []);
  const start = async () => {
    onProblem(undefined);
    setProgress({});
    const threads = Math.max(1, Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1));
    const size = mpp.trim() === "" ? undefined : Number(mpp);
    const started = startTabRun(
      { image: scan.image, model: model.place, variant: model.variant, mpp: size, threads },
      (event) => setProgress((before) => takeProgress(before, event)),
    );
    running.current = started;
    setRun(started);
    try {
      onDone(await started.done);
    } catch (error) {
      if ((error as Error).name !== "AbortError") onProblem((error as Error).message);
    }
    running.current = undefined;
    setRun(undefined);
  };
  return (
    <form
      class="settings"
      onSubmit={(event) => {
        event.preventDefault();
        void start();
      }}
    >
      <p>
        <strong>{scan.name}</strong>
      </p>
      <label class="row">
        <span>Model</span>
        <select
          value={model.name}
          disabled={run !== undefined}
          onChange={(event) => setModel(models.find(({ name }) => name === event.currentTarget.value)!)}
        >
          {models.map(({ name, version, variant }) => (
            <option key={name} value={name}>
              {name} {version} ({variant})
            </option>
          ))}
        </select>
      </label>
      <label class="row">
        <span>Pixel size in µm</span>
        <input
          type="number"
          min="0.01"
          max="1000"
          step="any"
          placeholder="as the file states"
          value={mpp}
          disabled={run !== undefined}
          onInput={(event) => setMpp(event.currentTarget.value)}
        />
      </label>
      <div class="row">
        {run === undefined ? (
          <>
            <button type="submit">Segment</button>
            <button type="button" onClick={onBack}>
              Another scan
            </button>
          </>
        ) : (
          <button type="button" onClick={() => run.stop()}>
            Stop
          </button>
        )}
      </div>
      {run !== undefined && <ProgressReport progress={progress} />}
    </form>
  );
}
