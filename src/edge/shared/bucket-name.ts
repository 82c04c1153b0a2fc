import * as z from "zod";

/** Bucket names cannot change the meaning of an address: no "/", no leading dot. */
export const bucketSchema = z.string().regex(/^[A-Za-z0-9][\w.-]{0,254}$/, "must be the name of a bucket");
