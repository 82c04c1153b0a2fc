import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeVolumePackage } from "../builders/volume-package.ts";
import { seed } from "./made-seed.ts";
import type { Format, Seed } from "./seeds.ts";

export function texts(): Seed[] {
  const text = (format: Format, name: string, content: string) =>
    seed(format, name, () => new TextEncoder().encode(content));
  const ring = [
    [10, 10],
    [300, 20],
    [280, 250],
    [30, 260],
    [10, 10],
  ];
  const hole = [
    [100, 100],
    [150, 100],
    [150, 150],
    [100, 100],
  ];
  const feature = (geometry: unknown) => ({
    type: "Feature",
    id: "a",
    geometry,
    properties: { objectType: "annotation", classification: { name: "tumour" } },
  });
  const polygon = { type: "Polygon", coordinates: [ring, hole] };
  const several = { type: "MultiPolygon", coordinates: [[ring], [hole]] };
  const geojson = (name: string, value: unknown) => text("mask", name, JSON.stringify(value));
  return [
    text(
      "manifest",
      "manifest",
      'id,source,mpp,mask,age,site\na,a.svs,0.5,,40,north\nb,sub/b.tif,0.25,b.geojson,51,\n"c, d",s3://bucket/c.svs,,,x,"y\nz"\n',
    ),
    text(
      "manifest",
      "manifest with semicolons",
      "source;mpp;alter\nä.svs;0,5;3,2\nhttps://example.org/b.svs?x=1;0,25;\n;;\n",
    ),
    text("manifest", "manifest with tabs", "\ufeffid\tsource\r\n1\ta.svs\r\n2\tb.svs\r\n"),
    geojson("GeoJSON", {
      type: "FeatureCollection",
      features: [feature(polygon), feature(several), feature(null)],
    }),
    geojson(
      "GeoJSON of one",
      feature({ type: "GeometryCollection", geometries: [polygon, { type: "Point", coordinates: [1, 2] }] }),
    ),
    geojson("GeoJSON list", [polygon, several]),
  ];
}

/** Small packages; the mutations change their JSON. */
export function packages(): Seed[] {
  const written = (name: string, write: (directory: string) => unknown) =>
    seed("model", name, () => {
      const directory = mkdtempSync(path.join(tmpdir(), "tilewright-fuzz-"));
      try {
        write(directory);
        const objects: Record<string, Uint8Array> = {};
        for (const file of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
          const at = path.join(directory, file);
          if (statSync(at).isFile()) objects[`model/${file}`] = readFileSync(at);
        }
        return objects;
      } finally {
        rmSync(directory, { recursive: true });
      }
    });
  const domain = {
    modality: "SM",
    bins: 2,
    kinds: [
      {
        name: "a",
        pictures: 3,
        luminance: { mean: [0.5, 0.5], reach: 1 },
        sharpness: { mean: -3, reach: 2 },
        spacing: { y: { min: 0.2, max: 0.6 }, x: { min: 0.2, max: 0.6 } },
      },
    ],
  };
  return [
    written("package", (directory) => writePointwisePackage(directory)),
    written("package with a domain", (directory) =>
      writePointwisePackage(directory, { manifest: { domain } }),
    ),
    written("package of volumes", (directory) => writeVolumePackage(directory)),
  ];
}
