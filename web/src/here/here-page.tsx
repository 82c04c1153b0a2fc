import { useEffect, useState } from "preact/hooks";
import type { ServedModel } from "../data/session.ts";
import type { ChosenScan } from "./choose-files.ts";
import { ChooseRegion } from "./choose-region.tsx";
import { ChooseScan } from "./choose-scan.tsx";
import { removeAbandonedRuns } from "./results-folder.ts";
import type { RunChoices } from "./run-choices.ts";
import { RunForm } from "./run-form.tsx";
import { ShownResults } from "./shown-results.tsx";
import type { TabResults } from "./tab-run.ts";

/** Segments a scan of this machine inside the tab. */
export function HerePage({ models }: { models: readonly ServedModel[] }) {
  const [scan, setScan] = useState<ChosenScan>();
  const [choices, setChoices] = useState<RunChoices>({ model: models[0]!, mpp: "", toFolder: false });
  const [isChoosing, setChoosing] = useState(false);
  const [results, setResults] = useState<TabResults>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    document.title = "Segment here – Tilewright";
    void removeAbandonedRuns();
  }, []);
  if (scan && results) return <ShownResults scan={scan} results={results} />;
  if (scan && isChoosing)
    return (
      <ChooseRegion
        scan={scan}
        choices={choices}
        onRegion={(region) => {
          setChoices({ ...choices, region });
          setChoosing(false);
        }}
        onBack={() => setChoosing(false)}
      />
    );
  return (
    <main class="plain here">
      <h1>Segment a scan in this tab</h1>
      <p>
        The scan stays on this machine. The page reads it from your disk, computes in this tab, and may reach
        no other address than the one it came from, to which it sends nothing.
      </p>
      {scan === undefined ? (
        <ChooseScan onScan={setScan} onProblem={setProblem} />
      ) : (
        <RunForm
          scan={scan}
          models={models}
          choices={choices}
          onChoices={setChoices}
          onChooseRegion={() => setChoosing(true)}
          onDone={setResults}
          onProblem={setProblem}
          onBack={() => {
            setScan(undefined);
            setChoices({ ...choices, region: undefined });
          }}
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
