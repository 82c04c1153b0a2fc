import { useEffect, useRef, useState } from "preact/hooks";
import type { ServedModel } from "../data/session.ts";
import { regionSettings } from "../region/region-messages.ts";
import { regionText } from "../region/region-text.ts";
import type { ChosenScan } from "./choose-files.ts";
import { canChooseFolder, chooseResultsFolder, createTabFolder } from "./results-folder.ts";
import { type RunChoices, typedMpp } from "./run-choices.ts";
import { ProgressReport, type RunProgress, takeProgress } from "./run-progress.tsx";
import { startTabRun, type TabResults, type TabRun } from "./tab-run.ts";

/** More workers compete for memory bandwidth, and each holds the model. */
const MAX_THREADS = 8;

interface RunFormProps {
  scan: ChosenScan;
  models: readonly ServedModel[];
  choices: RunChoices;
  onChoices: (choices: RunChoices) => void;
  onChooseRegion: () => void;
  onDone: (results: TabResults) => void;
  onProblem: (problem?: string) => void;
  onBack: () => void;
}

/** Settings of a run, and its progress. */
export function RunForm(props: RunFormProps) {
  const { scan, models, choices, onChoices, onChooseRegion, onDone, onProblem, onBack } = props;
  const { model, mpp, toFolder, region } = choices;
  const change = (changed: Partial<RunChoices>) => onChoices({ ...choices, ...changed });
  const [run, setRun] = useState<TabRun>();
  const [progress, setProgress] = useState<RunProgress>({});
  const running = useRef<TabRun>(undefined);
  useEffect(() => () => running.current?.stop(), []);
  const start = async () => {
    onProblem(undefined);
    setProgress({});
    try {
      const folder = toFolder ? await chooseResultsFolder(scan.name) : await createTabFolder();
      // The user closed the picker.
      if (toFolder && folder === undefined) return;
      const threads = Math.max(1, Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1));
      running.current = startTabRun(
        {
          image: scan.image,
          model: model.place,
          variant: model.variant,
          mpp: typedMpp(choices),
          settings: region && { ...regionSettings(region), tissueMask: region.tissueMask },
          threads,
        },
        folder,
        (event) => setProgress((before) => takeProgress(before, event)),
      );
      setRun(running.current);
      onDone(await running.current.done);
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
          onChange={(event) =>
            change({ model: models.find(({ name }) => name === event.currentTarget.value)! })
          }
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
          onInput={(event) => change({ mpp: event.currentTarget.value })}
        />
      </label>
      {canChooseFolder() && (
        <label class="row">
          <span>Results</span>
          <select
            value={toFolder ? "folder" : "tab"}
            disabled={run !== undefined}
            onChange={(event) => change({ toFolder: event.currentTarget.value === "folder" })}
          >
            <option value="tab">in this tab, to save later</option>
            <option value="folder">in a folder, as they are made</option>
          </select>
        </label>
      )}
      <div class="row">
        <span>Region</span>
        <div class="region-choice">
          <span>{region ? regionText(region.roi, region.polygons?.length) : "the whole scan"}</span>
          <button type="button" disabled={run !== undefined} onClick={onChooseRegion}>
            {region ? "Change the region" : "Choose a region"}
          </button>
          {region && (
            <button type="button" disabled={run !== undefined} onClick={() => change({ region: undefined })}>
              Whole scan
            </button>
          )}
        </div>
      </div>
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
