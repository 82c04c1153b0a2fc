import type { R2Bucket } from "@cloudflare/workers-types";
import { R2Store } from "../../../src/storage/r2-store.ts";
import type { StoreCall, StoreReply } from "./protocol.ts";

/** Makes one call of an `R2Store` per request, and returns its result. */
export default {
  async fetch(request: Request, env: { BUCKET: R2Bucket }): Promise<Response> {
    const call = (await request.json()) as StoreCall;
    const store = new R2Store(env.BUCKET, {
      prefix: call.prefix,
      pageSize: 3,
      maxWholeBytes: call.maxWholeBytes,
    });
    const signal = call.aborted ? AbortSignal.abort() : undefined;
    let reply: StoreReply;
    try {
      reply = { value: await answer(store, call, signal) };
    } catch (error) {
      const { name, message } = error as Error;
      reply = { error: { name, message, retryable: (error as { retryable?: boolean }).retryable } };
    }
    return Response.json(reply);
  },
};

async function answer(store: R2Store, call: StoreCall, signal: AbortSignal | undefined): Promise<unknown> {
  switch (call.method) {
    case "head":
      return store.head(call.key, { signal });
    case "get": {
      const found = await store.get(call.key, { signal });
      return found && { ...found, bytes: [...found.bytes] };
    }
    case "getRange": {
      const bytes = await store.getRange(call.key, call.offset!, call.length!, {
        signal,
        ifMatch: call.ifMatch,
      });
      return bytes && [...bytes];
    }
    case "put":
      return store.put(call.key, Uint8Array.from(call.bytes!), { signal, ifNoneMatch: call.ifNoneMatch });
    case "objects": {
      const objects: unknown[] = [];
      for await (const object of store.objects(call.key, { signal })) objects.push(object);
      return objects;
    }
    case "list": {
      const keys: string[] = [];
      for await (const key of store.list(call.key, { signal })) keys.push(key);
      return keys;
    }
  }
}
