import path from "node:path";
import { describe, expect, test } from "vitest";
import { FsStore } from "../../src/storage/fs-store.ts";
import { openAddress } from "../../src/storage/open-address.ts";
import { parseSourceAddress } from "../../src/storage/source-address.ts";

describe("parseSourceAddress", () => {
  test.each([
    ["slide.svs", { scheme: "file", path: "slide.svs" }],
    ["C:\\slides\\a.svs", { scheme: "file", path: "C:\\slides\\a.svs" }],
    ["file:///data/gr%C3%B6%C3%9Fe%20a.svs", { scheme: "file", path: "/data/größe a.svs" }],
    ["https://h.org/a/b.svs", { scheme: "http", base: "https://h.org/a/", key: "b.svs", search: "" }],
    [
      "http://h:81/b%20c.ome.zarr/?s=1&t=2",
      { scheme: "http", base: "http://h:81/", key: "b c.ome.zarr", search: "s=1&t=2" },
    ],
    ["s3://bucket/a/b c.svs", { scheme: "s3", bucket: "bucket", key: "a/b c.svs" }],
    ["s3://bucket/x.zarr/", { scheme: "s3", bucket: "bucket", key: "x.zarr" }],
  ])("%s", (source, expected) => {
    expect(parseSourceAddress(source)).toEqual(expected);
  });

  test.each([
    ["", /the source is empty/],
    ["ftp://h/a", /begins with ftp:\/\/, which is not supported/],
    ["s3://bucket", /names no object; write s3:\/\/bucket\/key/],
    ["https://h.org/", /names no file/],
    ["file://host/a", /names the host host/],
    ["http://", /^http:\/\/ is not a valid address; check/],
    ["https://[::1/a.svs", /is not a valid address; check/],
    ["file:///data/50%.svs", /is not a valid address: write a percent sign in a name as %25/],
    ["file:///data/a%00.svs", /holds a zero byte/],
  ])("refuses %s", (source, message) => {
    expect(() => parseSourceAddress(source)).toThrow(TypeError);
    expect(() => parseSourceAddress(source)).toThrow(message);
  });
});

describe("openAddress", () => {
  test("opens the directory of a path with the name as key", async () => {
    const { store, key, name, close } = await openAddress("some/where/größe 😐.svs");
    expect(store).toBeInstanceOf(FsStore);
    expect((store as FsStore).root).toBe(path.resolve("some/where"));
    expect([key, name]).toEqual(["größe 😐.svs", "größe 😐.svs"]);
    await close();
  });

  test("a final slash does not matter", async () => {
    expect((await openAddress("some/image.zarr/")).key).toBe("image.zarr");
  });

  test("rejects the root directory", async () => {
    await expect(openAddress("/")).rejects.toThrow("is the root directory");
  });
});
