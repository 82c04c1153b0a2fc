import { openAsBlob } from "node:fs";
import { isTilewrightError, type SegmentedImage, segment } from "tilewright";

/** Segments a picture without writing a file, and prints what it found: `node segment-file.ts slide.tiff`. */
const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("name a picture");
try {
  const result: SegmentedImage = await segment({
    source: await openAsBlob(path),
    model: "nuclei",
    mpp: 0.25,
  });
  const { data, shape } = result.labels;
  const counts = new Map<string, number>();
  for (const label of data) {
    const { name } = result.classes[label]!;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  console.log(`${shape.join("×")} pixels: ${[...counts].map(([name, n]) => `${n} ${name}`).join(", ")}`);
  for (const { className, centroid, measurements } of result.objects.slice(0, 3))
    console.log(
      `${className} at ${centroid.x.toFixed(1)}, ${centroid.y.toFixed(1)}: ${measurements.area.toFixed(1)} µm²`,
    );
  console.log(`${result.objects.length} objects, seam score ${result.run.seam.score?.toFixed(2)}`);
} catch (error) {
  // Expected failures have a sentence for a person; anything else is a bug.
  if (!isTilewrightError(error)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
