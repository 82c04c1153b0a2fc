import { useEffect, useRef, useState } from "preact/hooks";
import type { ProgressEvent } from "../../../src/portable/progress.ts";
import { DropArea } from "../controls/drop-area.tsx";
import { durationText } from "../controls/duration-text.ts";
import type { LocalFile } from "../data/file-store.ts";
import type { ServedModel } from "../data/session.ts";
import { ViewerPage } from "../viewer/viewer-page.tsx";
import { type ChosenScan, scanOfDrop, scanOfInput } from "./choose-files.ts";
import { canSaveToFolder, saveToFolder, zipFiles } from "./save-results.ts";
import { startTabRun, type TabRun } from "./tab-run.ts";

/** More workers compete for memory bandwidth, and each holds the model. */
const MAX_THREADS = 8;

/** Segments a scan of this machine inside the tab. */
export function HerePage({ models }: { models: readonly ServedModel[] }) {
  const [scan, setScan] = useState<ChosenScan>();
  const [files, setFiles] = useState<readonly LocalFile[]>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    document.title = "Segment here – Tilewright";
  }, []);
  if (scan && files) return <Results scan={scan} files={files} />;
  return (
    <main class="plain here">
      <h1>Segment a scan in this tab</h1>
      <p>
        The scan stays on this machine. The page reads it from your disk, computes in this tab, and may reach
        no other address than the one it came from, to which it sends nothing.
      </p>
      {scan === undefined ? (
        <Choose onScan={setScan} onProblem={setProblem} />
      ) : (
        <Run
          scan={scan}
          models={models}
          onDone={setFiles}
          onProblem={setProblem}
          onBack={() => setScan(undefined)}
        />
      )}
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
    </main>
  );
}

function Choose({
  onScan,
  onProblem,
}: {
  onScan: (scan: ChosenScan) => void;
  onProblem: (problem?: string) => void;
}) {
  const take = async (choose: () => ChosenScan | Promise<ChosenScan>) => {
    try {
      onScan(await choose());
      onProblem(undefined);
    } catch (error) {
      onProblem((error as Error).message);
    }
  };
  return (
    <DropArea label="Choose a scan" onDrop={(data) => void take(() => scanOfDrop(data))}>
      <p>Drop a slide, a volume, or the folder of a DICOM series or an OME-Zarr here.</p>
      <label class="row">
        <span>File</span>
        <input type="file" onChange={(event) => void take(() => scanOfInput(event.currentTarget.files))} />
      </label>
      <label class="row">
        <span>Folder</span>
        <input
          type="file"
          {...{ webkitdirectory: true }}
          onChange={(event) => void take(() => scanOfInput(event.currentTarget.files))}
        />
      </label>
    </DropArea>
  );
}

interface RunProps {
  scan: ChosenScan;
  models: readonly ServedModel[];
  onDone: (files: readonly LocalFile[]) => void;
  onProblem: (problem?: string) => void;
  onBack: () => void;
}

function Run({ scan, models, onDone, onProblem, onBack }: RunProps) {
  const [model, setModel] = useState(models[0]!);
  const [mpp, setMpp] = useState("");
  const [run, setRun] = useState<TabRun>();
  const [progress, setProgress] = useState<Progress>({});
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

interface Progress {
  stage?: string;
  done?: number;
  total?: number;
  secondsLeft?: number;
  warnings?: readonly string[];
}

function takeProgress(before: Progress, event: ProgressEvent): Progress {
  if (event.type === "stage") return { ...before, stage: event.stage };
  if (event.type === "plan")
    return { ...before, done: 0, total: event.windowsToDo, warnings: event.warnings };
  if (event.type === "progress") {
    const { windowsDone: done, windowsTotal: total, secondsLeft } = event;
    return { ...before, done, total, secondsLeft };
  }
  return before;
}

function ProgressReport({ progress }: { progress: Progress }) {
  const { stage = "loading the model", done, total, secondsLeft, warnings = [] } = progress;
  return (
    <div aria-live="polite">
      {warnings.map((warning) => (
        <p class="warning" key={warning}>
          {warning}
        </p>
      ))}
      <p>
        {stage}
        {total !== undefined && `: ${done} of ${total} windows`}
        {secondsLeft !== undefined && Number.isFinite(secondsLeft) && `, ${durationText(secondsLeft)} left`}
      </p>
      <progress value={total ? done : undefined} max={total ?? 1} aria-label="Windows that are segmented" />
    </div>
  );
}

/** The finished run in the viewer, with its files to save. */
function Results({ scan, files }: { scan: ChosenScan; files: readonly LocalFile[] }) {
  const [viewed] = useState({
    name: scan.name,
    image: scan.image,
    run: { key: "out", place: { kind: "files" as const, files } },
  });
  const [note, setNote] = useState("");
  const save = async (how: () => Promise<string>) => {
    setNote("saving …");
    try {
      setNote(await how());
    } catch (error) {
      setNote((error as Error).message);
    }
  };
  const inFolder = files.map(({ key, file }) => ({ key: key.replace(/^out\//, ""), file }));
  return (
    <ViewerPage scan={viewed}>
      <output class="told">{note}</output>
      <button
        type="button"
        onClick={() =>
          void save(async () => {
            const link = document.createElement("a");
            link.href = URL.createObjectURL(await zipFiles(inFolder));
            link.download = `${scan.name}-results.zip`;
            link.click();
            setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
            return "";
          })
        }
      >
        Save as zip
      </button>
      {canSaveToFolder() && (
        <button
          type="button"
          onClick={() =>
            void save(async () => {
              const name = await saveToFolder(inFolder);
              return name === undefined ? "" : `saved in ${name}`;
            })
          }
        >
          Save to folder
        </button>
      )}
    </ViewerPage>
  );
}
