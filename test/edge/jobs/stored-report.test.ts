import fc from "fast-check";
import { expect, it } from "vitest";
import { readStoredReport, storeReport } from "../../../src/edge/jobs/lifecycle/stored-report.ts";
import { emptySeamCounts } from "../../../src/tiling/merge/seam-score.ts";

const count = fc.option(fc.nat(1e9), { nil: undefined });
const merge = fc.option(
  fc.record({
    windows: fc.nat(),
    seams: fc.constant(emptySeamCounts()),
    compared: fc.nat(),
    disagreed: fc.nat(),
  }),
  { nil: undefined },
);

it("a stored report is short and reads back unchanged", () => {
  const report = fc.record({ windows: count, bytesRead: count, modelMilliseconds: count, merge });
  fc.assert(
    fc.property(report, (given) => {
      expect(readStoredReport(storeReport(given))).toEqual(given);
    }),
  );
  const shard = { windows: 32, bytesRead: 1_834_567, modelMilliseconds: 22_400, runtime: "onnxruntime-web" };
  expect(storeReport(shard)).toBe("[32,1834567,22400]");
  expect(storeReport({})).toBe("[]");
});
