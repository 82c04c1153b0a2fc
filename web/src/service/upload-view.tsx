import { useEffect, useMemo, useState } from "preact/hooks";
import { JobClient } from "../../../src/client/job-client.ts";
import type { ViewedScan } from "../data/session.ts";
import { regionTools } from "../region/open-region-tools.ts";
import { ViewerPage } from "../viewer/viewer-page.tsx";
import { uploadRegion } from "./upload-region.ts";

interface UploadViewProps {
  token: string;
  upload: string;
  onBack: () => void;
  onOpen: (job: string) => void;
}

/** The scan of an upload that has no job yet: a region is chosen, or the whole is segmented. */
export function UploadView({ token, upload, onBack, onOpen }: UploadViewProps) {
  const { stored, problem } = useUpload(token, upload);
  const [failure, setFailure] = useState<string>();
  const [isStarting, setStarting] = useState(false);
  const tools = useMemo(
    () => stored?.scan.image && regionTools(uploadRegion(token, stored.source, stored.scan.image, onOpen)),
    [token, stored],
  );
  const segmentAll = async () => {
    setStarting(true);
    setFailure(undefined);
    try {
      const client = new JobClient(location.origin, { token });
      onOpen((await client.startJob({ source: stored!.source })).id);
    } catch (error) {
      setFailure((error as Error).message);
      setStarting(false);
    }
  };
  const back = (
    <button type="button" onClick={onBack}>
      All scans
    </button>
  );
  const shown = failure ?? problem;
  const notice = shown && (
    <p role="alert" class="problem">
      {shown}
    </p>
  );
  if (!stored?.scan.image)
    return (
      <main class="plain here">
        {back}
        <h1>{stored?.scan.name ?? "Upload"}</h1>
        {notice ?? <output>Opening …</output>}
      </main>
    );
  return (
    <ViewerPage scan={stored.scan} tools={tools}>
      {notice}
      {back}
      <button type="button" disabled={isStarting} onClick={() => void segmentAll()}>
        Segment the whole scan
      </button>
    </ViewerPage>
  );
}

/** Where the scan of an upload is read, or why it cannot be. */
function useUpload(token: string, id: string) {
  const [stored, setStored] = useState<{ source: string; scan: ViewedScan }>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    const open = async () => {
      const found = await new JobClient(location.origin, { token }).upload(id);
      if (!found) throw new Error("there is no such upload: it may have been given up");
      const { source } = found;
      if (source === undefined) throw new Error("the upload is not complete: choose its file again to go on");
      const name = source.split("/").at(-1)!;
      const base = `${location.origin}/v1/uploads/${id}/source/`;
      const first = await fetch(base + encodeURIComponent(name), {
        headers: { Authorization: `Bearer ${token}`, Range: "bytes=0-0" },
      });
      await first.body?.cancel();
      setStored({
        source,
        scan: {
          name,
          ...(first.ok && { image: { key: name, place: { kind: "server", store: { base, token } } } }),
        },
      });
      if (first.status === 401 || first.status === 403)
        throw new Error(
          "this token may not read scans (it lacks the scope source), so no region can be chosen",
        );
      if (!first.ok) throw new Error("the scan cannot be read: it was moved or replaced");
    };
    open().catch((error: Error) => setProblem(error.message));
  }, [token, id]);
  return { stored, problem };
}
