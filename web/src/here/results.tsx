import { useState } from "preact/hooks";
import type { LocalFile } from "../data/file-store.ts";
import { ViewerPage } from "../viewer/viewer-page.tsx";
import type { ChosenScan } from "./choose-files.ts";
import { canSaveToFolder, saveToFolder, zipFiles } from "./save-results.ts";

/** The finished run in the viewer, with its files to save. */
export function Results({ scan, files }: { scan: ChosenScan; files: readonly LocalFile[] }) {
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
