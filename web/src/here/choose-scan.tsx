import { DropArea } from "../controls/drop-area.tsx";
import { type ChosenScan, scanOfDrop, scanOfInput } from "./choose-files.ts";

/** Takes a scan of this machine, dropped or chosen. */
export function ChooseScan({
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
