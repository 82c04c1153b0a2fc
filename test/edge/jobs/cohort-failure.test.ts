import { describe, expect, it } from "vitest";
import { classifyStartError, jobFailure } from "../../../src/edge/jobs/cohorts/row-failure.ts";
import { ImageFormatError } from "../../../src/image/errors.ts";
import { JobError } from "../../../src/orchestrator/errors.ts";
import { HttpError } from "../../../src/service/http-error.ts";
import { StorageError } from "../../../src/storage/errors.ts";

describe("the failure of a scan", () => {
  const source = { uri: "r2://scans/uploads/abc/x.svs", etag: "e", byteLength: 1 };

  it("has the failure codes of cohorts, and no upload folder in its message", () => {
    const failed = (code: string, message = "uploads/abc/x.svs: it is no image") =>
      jobFailure({ state: "failed", source, error: { code, message } });
    expect(failed("source_unreadable")).toEqual({ code: "unreadable", reason: "x.svs: it is no image" });
    expect(failed("source_missing").code).toBe("missing");
    expect(failed("source_changed").code).toBe("changed");
    expect(failed("no_tissue").code).toBe("no-tissue");
    expect(failed("job_refused").code).toBe("refused");
    expect(failed("task_failed").code).toBe("backend");
    expect(failed("work_lost").code).toBe("storage");
    expect(failed("source_unreadable", "a\n b".repeat(500)).reason.length).toBeLessThanOrEqual(500);
    expect(jobFailure({ state: "cancelled", source }).code).toBe("refused");
    expect(jobFailure({ state: "failed", source }).reason.length).toBeGreaterThan(10);
  });

  it("says whether a retry may succeed", () => {
    const verdict = (error: unknown) => {
      const { code, transient } = classifyStartError(error, "r2://scans/uploads/1/a.svs");
      return [code, transient];
    };
    expect(verdict(new HttpError(404, "source_missing", "there is none"))).toEqual(["missing", false]);
    expect(verdict(new HttpError(422, "source_refused", "no"))).toEqual(["refused", false]);
    expect(verdict(new HttpError(503, "not_configured", "no"))).toEqual(["unexpected", true]);
    expect(verdict(new StorageError("down", { retryable: true }))).toEqual(["storage", true]);
    expect(verdict(new StorageError("forbidden", { retryable: false }))).toEqual(["unreadable", false]);
    expect(verdict(new JobError("no"))).toEqual(["refused", false]);
    const { reason } = classifyStartError(new TypeError("cannot read secrets of undefined"), "r2://scans/a");
    expect(reason).not.toContain("secrets");
    const unreadable = new ImageFormatError("uploads/1/a.zarr is a Zarr group without metadata");
    expect(classifyStartError(unreadable, "r2://scans/uploads/1/a.zarr").reason).toBe(
      "a.zarr is a Zarr group without metadata",
    );
  });
});
