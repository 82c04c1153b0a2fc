// Gives the codecs their compiled modules, like both Workers.
import "../../../src/edge/sources/job-source.ts";
import type { ImageSource } from "../../../src/image/image-source.ts";
import { openImage } from "../../../src/readers/open-image.ts";
import { MemoryStore } from "../../../src/storage/memory-store.ts";

let image: ImageSource | undefined;

/** `PUT` opens the image of the body; `POST {origin, size}` reads a region of it, in a request of its own. */
export default {
  async fetch(request: Request): Promise<Response> {
    try {
      if (request.method === "PUT") {
        const store = new MemoryStore({ image: new Uint8Array(await request.arrayBuffer()) });
        image = await openImage(store, "image", { reuseAcrossRequests: true });
        return Response.json({ shape: image.levels[0]!.shape, dtype: image.dtype });
      }
      const { data } = await image!.readRegion(0, await request.json());
      return Response.json({ data: [...data] });
    } catch (error) {
      return Response.json({ error: `${error}` }, { status: 500 });
    }
  },
};
