import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readMask } from "../../src/local/read-mask.ts";
import { JobError } from "../../src/orchestrator/errors.ts";
import { makeNifti } from "../builders/make-nifti.ts";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
const SQUARE = {
  type: "Polygon",
  coordinates: [
    [
      [0, 0],
      [30, 0],
      [30, 20],
      [0, 20],
    ],
  ],
};
const VOLUME = makeNifti({ type: "uint8", size: [7, 5, 3], data: new Uint8Array(105).fill(1) });
/** Faulty masks by name, and what is said of each. */
const FAULTS: [string, string | Uint8Array, RegExp][] = [
  ["cut.geojson", '{"type": "Feature', /^the mask cut.geojson is not valid JSON/],
  ["latin.geojson", Uint8Array.of(0x22, 0xe9, 0x22), /^the mask latin.geojson is not valid JSON/],
  ["text.geojson", '"text"', /^the mask text.geojson is not GeoJSON/],
  ["number.geojson", '{"type": 1}', /^the mask number.geojson has no valid GeoJSON polygons/],
  ["deep.json", "[[[[[[[[[[1]]]]]]]]]]", /^the mask deep.json is not GeoJSON: it is nested too deeply/],
  ["point.json", '{"type": "Point", "coordinates": [1, 2]}', /^the mask point.json holds no polygon/],
  ["bad.json", '{"type": "Polygon", "coordinates": [["x"]]}', /^the mask bad.json is damaged: a Polygon/],
  ["volume.nii", VOLUME, /^the mask volume.nii is a volume: save one/],
  ["other.tif", "nothing", /^other.tif is not an image that can be read/],
];

let directory: string;
let server: Server;
let url: string;

beforeAll(async () => {
  directory = join(mkdtempSync(join(tmpdir(), "tilewright-mask-address-")), "of-a-patient");
  mkdirSync(directory);
  for (const [name, content] of FAULTS) writeFileSync(join(directory, name), content);
  const good = Buffer.from(JSON.stringify(SQUARE));
  server = createServer((request, response) => {
    const bytes = request.url!.includes("/good.geojson") ? good : Buffer.from('{"type": "Feature');
    const headers = { ETag: '"one"', "Content-Length": bytes.length };
    response.writeHead(200, headers).end(request.method === "HEAD" ? undefined : bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/masks`;
});
afterAll(() => {
  server.close();
  rmSync(join(directory, ".."), { recursive: true, force: true });
});

const failure = (uri: string): Promise<Error> =>
  readMask(uri, [40, 60], undefined).then(
    () => expect.fail(`${uri} was read`),
    (error) => error,
  );

describe("what is said of a mask names its file, and neither the folders of this machine nor a signature", () => {
  it.each([...FAULTS, ["none.geojson", "", /^the mask none.geojson does not exist/] as const])(
    "%s",
    async (name, _content, sentence) => {
      for (const uri of [join(directory, name), `file://${directory}/${name}`]) {
        const { message } = await failure(uri);
        expect(message).toMatch(sentence);
        expect(message).not.toContain("of-a-patient");
      }
    },
  );

  it("at an address that is signed", async () => {
    const { message } = await failure(`${url}/cut.geojson?signature=abc/def.x`);
    expect(message).toMatch(/^the mask cut.geojson is not valid JSON/);
    expect(message).not.toMatch(/signature|def/);
  });
});

describe("the address of a mask", () => {
  it("leads to polygons, also where it is signed", async () => {
    const file = join(directory, "good.geojson");
    writeFileSync(file, JSON.stringify(SQUARE));
    const { raster } = await readMask(file, [40, 60], undefined);
    expect(raster.shape).toEqual([40, 60]);
    expect([raster.data[0], raster.data.at(-1)]).toEqual([1, 0]);
    const signed = await readMask(`${url}/good.geojson?signature=abc/def.x`, [40, 60], undefined);
    expect(signed.raster).toEqual(raster);
  });

  it.each([
    ["", /^--mask is empty: name an image or polygons, or leave it out$/],
    [" ", /^--mask is empty/],
    ["gs://bucket/a.png", /^--mask: gs:\/\/bucket\/a.png begins with gs:\/\/, which is not supported/],
    ["s3://a.geojson", /^--mask: s3:\/\/a.geojson names no object/],
    ["file:///a%zz.png", /^--mask: file:\/\/\/a%zz.png is not a valid address/],
  ])("%j is rejected as an error of the command", async (typed, sentence) => {
    const error = await failure(typed);
    expect(error).toBeInstanceOf(JobError);
    expect(error.message).toMatch(sentence);
  });

  it.each([
    ["segment", "slide.tif", "--out", "out"],
    ["plan", "slide.tif"],
    ["cohort", "run", "cohort.csv", "--out", "out"],
  ])("that is empty is rejected before anything else: %s", (...args) => {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args, "--mask", ""], {
      encoding: "utf8",
      cwd: directory,
    });
    expect(stderr).toBe("tilewright: --mask is empty: name an image or polygons, or leave it out\n");
    expect(status).toBe(2);
  });
});
