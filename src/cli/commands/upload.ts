import { upload } from "../../client/upload.ts";
import type { AddCommand } from "../options/context.ts";
import { parseCount } from "../options/parsers.ts";
import { type JobFlags, toJobOptions, withJobOptions } from "../options/shared-options.ts";
import { printJob } from "./jobs.ts";

export const addUploadCommand: AddCommand = (program, context) => {
  withJobOptions(
    program
      .command("upload <scan>")
      .description(
        "upload a file, an OME-Zarr or a directory of DICOM files to a job service and segment it",
      ),
  )
    .option("--parallel-uploads <n>", "parts or files that are uploaded in parallel", parseCount)
    .action(async (file: string, flags: JobFlags & { parallelUploads?: number }) => {
      context.setResumeHint("continue later with the same command");
      const { parallelUploads } = flags;
      printJob(await upload({ ...toJobOptions(flags, context), file, parallelUploads }), flags);
    });
};
