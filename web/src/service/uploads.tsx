import { useEffect, useRef, useState } from "preact/hooks";
import { DropArea } from "../controls/drop-area.tsx";
import { filesOfDrop, filesOfInput } from "../controls/dropped-files.ts";
import type { LocalFile } from "../data/file-store.ts";
import { type ChosenUpload, chooseUploads } from "./choose-uploads.ts";

interface Sending {
  upload: ChosenUpload;
  bytes: number;
  error?: string;
  /** Whether it is only stored, so that a region can be chosen. */
  isStored: boolean;
  /** The upload, once it is stored. */
  stored?: string;
  controller?: AbortController;
}

/** Scans that are sent at the same time. */
const PARALLEL_SCANS = 2;

interface UploadsProps {
  token: string;
  /** @param isOnly no other upload is in progress */
  onStarted: (job: string, isOnly: boolean) => void;
  /** A scan is stored, and a region of it can be chosen. */
  onStored: (upload: string) => void;
}

/** Takes files and folders by drop or choice and sends them. What was sent before a reload is not sent again. */
export function Uploads({ token, onStarted, onStored }: UploadsProps) {
  const [sendings, setSendings] = useState<readonly Sending[]>([]);
  const [isRegionFirst, setRegionFirst] = useState(false);
  const [problem, setProblem] = useState<string>();
  const running = useRef(new Set<ChosenUpload>());
  /** All of the list. */
  const known = useRef(new Set<ChosenUpload>());
  const change = (upload: ChosenUpload, part: Partial<Sending> | undefined) =>
    setSendings((before) =>
      before.flatMap((sending) =>
        sending.upload !== upload ? [sending] : part === undefined ? [] : [{ ...sending, ...part }],
      ),
    );
  const start = async ({ upload, isStored }: Sending) => {
    running.current.add(upload);
    const controller = new AbortController();
    change(upload, { controller, error: undefined });
    try {
      const onProgress = (bytes: number) => change(upload, { bytes });
      if (!isStored) {
        const job = await upload.send(token, controller.signal, onProgress);
        remove(upload);
        onStarted(job, known.current.size === 0);
      } else if (upload.store) {
        const stored = await upload.store(token, controller.signal, onProgress);
        if (known.current.size === 1) onStored(stored);
        else change(upload, { stored, bytes: upload.byteLength, controller: undefined });
      } else {
        throw new Error(
          "a region of a folder is chosen when its job runs: remove it, and choose it without “Choose a region first”",
        );
      }
    } catch (error) {
      const reason = controller.signal.aborted ? "stopped" : (error as Error).message;
      change(upload, { error: reason, controller: undefined });
    }
    running.current.delete(upload);
  };
  const remove = (upload: ChosenUpload) => {
    known.current.delete(upload);
    change(upload, undefined);
  };
  useEffect(() => {
    const next = sendings.find(
      ({ upload, error, stored }) =>
        error === undefined && stored === undefined && !running.current.has(upload),
    );
    if (next && running.current.size < PARALLEL_SCANS) void start(next);
  });
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent) => running.current.size > 0 && event.preventDefault();
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, []);
  const take = async (choose: () => readonly LocalFile[] | Promise<readonly LocalFile[]>) => {
    try {
      const { uploads, problem } = chooseUploads(await choose());
      setProblem(problem);
      for (const upload of uploads) known.current.add(upload);
      setSendings((before) => [
        ...before,
        ...uploads.map((upload) => ({ upload, bytes: 0, isStored: isRegionFirst })),
      ]);
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  const input = (label: string, isFolder: boolean) => (
    <label class="row">
      <span>{label}</span>
      <input
        type="file"
        multiple
        {...(isFolder && { webkitdirectory: true })}
        onChange={(event) => {
          const files = filesOfInput(event.currentTarget.files);
          event.currentTarget.value = "";
          void take(() => files);
        }}
      />
    </label>
  );
  return (
    <DropArea label="Upload" onDrop={(data) => void take(() => filesOfDrop(data))}>
      {input("Drop scans here, or choose files:", false)}
      {input("or a folder (DICOM, OME-Zarr):", true)}
      <label class="row">
        <input
          type="checkbox"
          checked={isRegionFirst}
          onChange={(event) => setRegionFirst(event.currentTarget.checked)}
        />
        Choose a region first
      </label>
      {problem && <p class="warning">{problem}</p>}
      <ul class="sendings">
        {sendings.map(({ upload, bytes, error, stored, controller }) => (
          <li key={upload.key}>
            <span>{upload.name}</span>
            <progress value={bytes} max={upload.byteLength} aria-label={`Sent of ${upload.name}`} />
            {error ? (
              <>
                <span class="warning">{error}</span>
                <button type="button" onClick={() => change(upload, { error: undefined })}>
                  Go on
                </button>
                <button type="button" onClick={() => remove(upload)}>
                  Remove
                </button>
              </>
            ) : stored ? (
              <button type="button" onClick={() => onStored(stored)}>
                Choose a region
              </button>
            ) : (
              <span>
                {Math.floor((100 * bytes) / upload.byteLength)} %{" "}
                <button type="button" disabled={!controller} onClick={() => controller?.abort()}>
                  Stop
                </button>
              </span>
            )}
          </li>
        ))}
      </ul>
    </DropArea>
  );
}
