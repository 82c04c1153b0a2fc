// Opens a small image of a kind, then a large one, reads it in windows, and tells how much more memory that took.
import { openImage } from "../../src/readers/open-image.ts";
import { FsStore } from "../../src/storage/fs-store.ts";

const [folder, small, large] = process.argv.slice(2) as [string, string, string];
const store = new FsStore(folder);

async function readWindows(name: string): Promise<void> {
  const image = await openImage(store, name);
  const [height, width] = image.levels[0]!.shape as [number, number];
  for (let y = 0; y < height; y += 1024) {
    for (let x = 0; x < width; x += 1024) {
      const size = [Math.min(512, height - y), Math.min(512, width - x)];
      await image.readRegion(0, { origin: [y, x], size });
    }
  }
  await image.close();
}

await readWindows(small);
const before = process.resourceUsage().maxRSS;
await readWindows(large);
console.log(JSON.stringify({ kibibytes: process.resourceUsage().maxRSS - before }));
