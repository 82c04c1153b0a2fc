/**
 * A cohort whose codec throws where no caller can catch it: `node stray-cohort.ts <manifest> <model> <out>
 * <callback|promise>`.
 */
import { registry } from "zarrita";
import { runCohort } from "../../src/cohort/run-cohort.ts";
import { registerBoundedCodecs } from "../../src/readers/zarr/bounded-codecs.ts";

const [cohort, model, out, how] = process.argv.slice(2) as [string, string, string, string];
registerBoundedCodecs();
const entry = {
  fromConfig: () => ({
    kind: "bytes_to_bytes",
    decode: () =>
      new Promise(() => {
        if (how === "promise") void Promise.reject(new Error("abort inside a codec"));
        else
          setTimeout(() => {
            throw new Error("abort inside a codec");
          });
      }),
  }),
};
registry.set("numcodecs.zlib", (() => entry) as never);
const { done, failed } = await runCohort({ cohort, model, out, threads: 1, tissueMask: false, mpp: 0.5 });
console.log(JSON.stringify({ done, failed }));
// The codec never answers.
process.exit();
