import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { segment } from "../src/index.ts";
import { openSource } from "../src/local/open-source.ts";
import { readLabels } from "../test/builders/read-labels.ts";

/**
 * Dice of `tilewright segment volume.nii.gz --model hippocampus` over the val split, with windows, resampling and files.
 * Compare it with `model/evaluate.py models/hippocampus`, which uses none of these.
 *   node bench/hippocampus.ts [--data ../shared/data/vol-msd-hippocampus] [--split val]
 */
const { values } = parseArgs({
  options: {
    data: { type: "string", default: "../shared/data/vol-msd-hippocampus" },
    split: { type: "string", default: "val" },
    variant: { type: "string" },
  },
});
const names = readFileSync(join(values.data, "split.csv"), "utf8")
  .split(/\r?\n/)
  .filter((line) => line.endsWith(`,${values.split}`))
  .map((line) => line.split(",")[0]!);
const directory = mkdtempSync(join(tmpdir(), "tilewright-hippocampus-"));
try {
  const dice: number[][] = [[], []];
  for (const name of names) {
    const out = join(directory, name);
    const source = join(values.data, "images", name);
    await segment({
      source,
      model: "hippocampus",
      variant: values.variant,
      out,
      outputs: ["labels.ome.zarr"],
    });
    const found = await readLabels(join(out, "labels.ome.zarr"));
    const truth = await openSource(join(values.data, "labels", name), undefined);
    const { shape } = truth.source.levels[0]!;
    const wanted = (await truth.source.readRegion(0, { origin: shape.map(() => 0), size: shape })).data;
    await truth.close();
    if (found.shape.join() !== shape.join())
      throw new Error(`${name}: labels are ${found.shape}, not ${shape}`);
    for (const structure of [1, 2]) {
      let both = 0;
      let either = 0;
      for (let i = 0; i < wanted.length; i++) {
        const [a, b] = [found.data[i] === structure, wanted[i] === structure];
        both += Number(a && b);
        either += Number(a) + Number(b);
      }
      if (either > 0) dice[structure - 1]!.push((2 * both) / either);
    }
  }
  const mean = (list: readonly number[]) => list.reduce((a, b) => a + b, 0) / list.length;
  const [anterior, posterior] = dice.map(mean) as [number, number];
  console.log(
    `${names.length} volumes (${values.split}): Dice ${mean([anterior, posterior]).toFixed(4)} (anterior ${anterior.toFixed(4)}, posterior ${posterior.toFixed(4)})`,
  );
} finally {
  rmSync(directory, { recursive: true, force: true });
}
