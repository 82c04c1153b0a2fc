import { deepEqual, equal, match } from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { upload } from "../../src/client/upload.ts";
import { segment } from "../../src/index.ts";
import { writeMadeSlide } from "../../test/builders/slide.ts";
import type { Image } from "./build-image.ts";
import { startIn } from "./container.ts";

const STARTS_WITHIN_MS = 180_000;

/** Runs the service's image as compose does, uploads a scan, and compares its results with those of `segment`. */
export async function checkService(image: Image, directory: string): Promise<void> {
  const service = startIn(image, image.entrypoint, { volume: "/data" });
  try {
    const deadline = performance.now() + STARTS_WITHIN_MS;
    while (!/TILEWRIGHT_TOKEN=\S+/.test(service.output())) {
      if (service.child.exitCode !== null || performance.now() > deadline)
        throw new Error(`the service does not start: ${service.output()}`);
      await pause(200);
    }
    const token = /TILEWRIGHT_TOKEN=(\S+)/.exec(service.output())![1]!;
    equal(await startIn(image, image.healthcheck).ended, 0);
    const source = join(directory, "slide.tiff");
    writeMadeSlide(source, { width: 420, height: 300, mpp: 0.25 });
    const [out, own] = [join(directory, "uploaded"), join(directory, "own")];
    mkdirSync(out);
    await upload({ file: source, server: "http://127.0.0.1:8787", token, out });
    await segment({ source, model: "nuclei", out: own, likeService: true });
    const outputs = (place: string) => JSON.parse(readFileSync(join(place, "run.json"), "utf8")).outputs;
    deepEqual(outputs(out), outputs(own));
    service.child.kill("SIGTERM");
    equal(await service.ended, 0, service.output());
    match(service.output(), /is up at http:/);
  } finally {
    service.child.kill("SIGKILL");
    await service.ended;
  }
}
