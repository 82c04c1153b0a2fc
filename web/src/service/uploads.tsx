import { useEffect, useRef, useState } from "preact/hooks";
import { DropArea } from "../controls/drop-area.tsx";
import { uploadFile } from "./upload-file.ts";

interface Sending {
  file: File;
  bytes: number;
  error?: string;
  controller?: AbortController;
}

/** Files that are sent at the same time. */
const PARALLEL_FILES = 2;

interface UploadsProps {
  token: string;
  /** @param isOnly no other upload is in progress */
  onStarted: (job: string, isOnly: boolean) => void;
}

/** Takes files by drop or choice and sends them. What was sent before a reload is not sent again. */
export function Uploads({ token, onStarted }: UploadsProps) {
  const [sendings, setSendings] = useState<readonly Sending[]>([]);
  const [problem, setProblem] = useState<string>();
  const running = useRef(new Set<File>());
  /** All files of the list. */
  const known = useRef(new Set<File>());
  const change = (file: File, part: Partial<Sending> | undefined) =>
    setSendings((before) =>
      before.flatMap((sending) =>
        sending.file !== file ? [sending] : part === undefined ? [] : [{ ...sending, ...part }],
      ),
    );
  const start = async (file: File) => {
    running.current.add(file);
    const controller = new AbortController();
    change(file, { controller, error: undefined });
    try {
      const job = await uploadFile(token, file, controller.signal, (bytes) => change(file, { bytes }));
      change(file, undefined);
      known.current.delete(file);
      onStarted(job, known.current.size === 0);
    } catch (error) {
      const error_ = controller.signal.aborted ? "stopped" : (error as Error).message;
      change(file, { error: error_, controller: undefined });
    }
    running.current.delete(file);
  };
  useEffect(() => {
    const next = sendings.find(({ file, error }) => error === undefined && !running.current.has(file));
    if (next && running.current.size < PARALLEL_FILES) void start(next.file);
  });
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent) => running.current.size > 0 && event.preventDefault();
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, []);
  const take = (list: FileList | null, hasFolder = false) => {
    const given = Array.from(list ?? []);
    const files = given.filter(({ size }) => size > 0);
    const empty = given.find(({ size }) => size === 0);
    setProblem(
      hasFolder
        ? "The page takes files. Upload a folder with tilewright upload, or give a zip of it."
        : empty && `${empty.name} is empty and was not uploaded.`,
    );
    for (const file of files) known.current.add(file);
    setSendings((before) => [...before, ...files.map((file) => ({ file, bytes: 0 }))]);
  };
  return (
    <DropArea
      label="Upload"
      onDrop={({ items, files }) => {
        const hasFolder = Array.from(items).some((item) => item.webkitGetAsEntry?.()?.isDirectory);
        take(hasFolder ? null : files, hasFolder);
      }}
    >
      <label class="row">
        <span>Drop scans here, or choose them:</span>
        <input
          type="file"
          multiple
          onChange={(event) => {
            take(event.currentTarget.files);
            event.currentTarget.value = "";
          }}
        />
      </label>
      {problem && <p class="warning">{problem}</p>}
      <ul class="sendings">
        {sendings.map(({ file, bytes, error, controller }) => (
          <li key={`${file.name}/${file.size}`}>
            <span>{file.name}</span>
            <progress value={bytes} max={file.size} aria-label={`Sent of ${file.name}`} />
            {error ? (
              <>
                <span class="warning">{error}</span>
                <button type="button" onClick={() => change(file, { error: undefined })}>
                  Go on
                </button>
              </>
            ) : (
              <span>
                {Math.floor((100 * bytes) / file.size)} %{" "}
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
