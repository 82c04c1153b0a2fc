import { LRUCache } from "lru-cache";
import pLimit from "p-limit";
import { useEffect, useRef, useState } from "preact/hooks";
import { JobClient } from "../../../src/client/job-client.ts";
import type { JobStatus } from "../../../src/contracts/job-request.ts";
import { ImageClient } from "../data/image-client.ts";
import { readSmallPicture } from "../data/small-picture.ts";
import { firstChannelLooks } from "../viewer/channel-looks.ts";

/** Longest side in pixels of the screen. */
const SIDE = 96;
/** Pictures that are kept, of 37 kB at most. By scan: jobs of one scan share theirs. */
const kept = new LRUCache<string, ImageData | "none">({ max: 200 });
/** Each picture starts a worker and reads from the storage of the scan. */
const limit = pLimit(2);
/** Tokens that may not read scans: nothing is asked for them. */
const refused = new Set<string>();

/** A small picture of a job's scan, read when it comes into view, if the token may read scans. */
export function Thumbnail({ token, job }: { token: string; job: JobStatus }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [isNear, setNear] = useState(false);
  const key = `${job.source.uri} ${job.source.etag}`;
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => {
      if (entries.some(({ isIntersecting }) => isIntersecting)) setNear(true);
    });
    observer.observe(canvas.current!);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (!isNear) return;
    const controller = new AbortController();
    void limit(() => readThumbnail(token, job.id, key, controller.signal)).then((picture) => {
      if (!picture || controller.signal.aborted || !canvas.current) return;
      Object.assign(canvas.current, { width: picture.width, height: picture.height });
      canvas.current.getContext("2d")!.putImageData(picture, 0, 0);
    });
    return () => controller.abort();
  }, [isNear, token, job.id, key]);
  return <canvas ref={canvas} class="thumbnail" width={1} height={1} />;
}

/** @returns undefined where there is none; a list must not fail because of a picture */
async function readThumbnail(
  token: string,
  job: string,
  key: string,
  signal: AbortSignal,
): Promise<ImageData | undefined> {
  const known = kept.get(key);
  if (known !== undefined || signal.aborted || refused.has(token))
    return known === "none" ? undefined : known;
  let client: ImageClient | undefined;
  try {
    const { name } = await new JobClient(location.origin, { token, signal }).request(job);
    const base = `${location.origin}/v1/jobs/${job}/source`;
    const headers = { Authorization: `Bearer ${token}`, Range: "bytes=0-0" };
    const first = await fetch(`${base}/${encodeURIComponent(name)}`, { headers, signal });
    await first.body?.cancel();
    if (first.status === 403) refused.add(token);
    if (first.status === 401 || first.status === 403) return undefined;
    client = new ImageClient({
      key: name,
      place: { kind: "server", store: { base: `${base}/`, list: base, token } },
    });
    const image = await client.opened;
    const picture = await readSmallPicture(client, image, firstChannelLooks(image), SIDE, signal);
    kept.set(key, picture ?? "none");
    return picture;
  } catch {
    // Aborted, unreachable or no image: the next visit tries again.
    return undefined;
  } finally {
    client?.close();
  }
}
