import type { Bindings } from "../context/bindings.ts";
import type { R2Notification } from "../events/r2-notification.ts";
import type { CompletedScan } from "./completed-scan.ts";

/** Puts on the queue what R2's own notification would: where the platform sends none, all else is as in the cloud. */
export async function publishUploadEvent(scan: CompletedScan, env: Bindings): Promise<undefined> {
  if (env.SYNTHESISE_EVENTS !== "true") return;
  const { bucket, key, etag, byteLength } = scan;
  await env.EVENTS!.send({
    account: "local",
    action: "CompleteMultipartUpload",
    bucket,
    object: { key, size: byteLength, eTag: etag },
    eventTime: new Date().toISOString(),
  } satisfies R2Notification);
}
