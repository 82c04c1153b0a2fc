import { useState } from "preact/hooks";
import { ViewerPage } from "../viewer/viewer-page.tsx";
import type { ChosenScan } from "./choose-files.ts";
import { canChooseFolder, chooseResultsFolder } from "./results-folder.ts";
import { copyFiles, zipFiles } from "./save-results.ts";
import type { TabResults } from "./tab-run.ts";

/** The finished run in the viewer, with its files to save if they are not in a folder of the user's. */
export function ShownResults({
  scan,
  results: { files, folder },
}: {
  scan: ChosenScan;
  results: TabResults;
}) {
  const [viewed] = useState({
    name: scan.name,
    image: scan.image,
    run: { key: "out", place: { kind: "files" as const, files } },
  });
  const [note, setNote] = useState(folder?.name ? `saved in ${folder.name}` : "");
  const save = async (how: () => Promise<string>) => {
    setNote("saving …");
    try {
      setNote(await how());
    } catch (error) {
      setNote((error as Error).message);
    }
  };
  const named = files.map(({ key, file }) => ({ key: key.replace(/^out\//, ""), file }));
  const saveAsZip = async () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await zipFiles(named));
    link.download = `${scan.name}-results.zip`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    return "";
  };
  const saveToFolder = async () => {
    const chosen = await chooseResultsFolder(scan.name);
    if (chosen === undefined) return "";
    try {
      await copyFiles(named, chosen.handle);
    } catch (error) {
      await chosen.remove();
      throw error;
    }
    return `saved in ${chosen.name}`;
  };
  return (
    <ViewerPage scan={viewed}>
      <output class="told">{note}</output>
      {folder?.name === undefined && (
        <>
          <button type="button" onClick={() => void save(saveAsZip)}>
            Save as zip
          </button>
          {canChooseFolder() && (
            <button type="button" onClick={() => void save(saveToFolder)}>
              Save to folder
            </button>
          )}
        </>
      )}
    </ViewerPage>
  );
}
