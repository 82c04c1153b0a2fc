import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseCorsOrigins } from "../../../src/edge/jobs/auth/cors.ts";
import { signReadLink, verifyReadLink } from "../../../src/edge/jobs/auth/read-link.ts";

const secret = fc.string({ minLength: 1, maxLength: 60 });
const job = fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 32, maxLength: 32 });
const expires = fc.integer({ min: 1, max: 4e9 });

describe("a read link", () => {
  it("is good for its job until its end, and no longer", async () => {
    await fc.assert(
      fc.asyncProperty(secret, job, expires, fc.nat(1e6), async (key, id, end, seconds) => {
        const signature = await signReadLink(key, { job: id, expires: end });
        const verify = (now: number) => verifyReadLink(key, { job: id, expires: end }, signature, now);
        expect(await verify(end - 0.001 - seconds)).toBe(true);
        expect(await verify(end)).toBe(false);
        expect(await verify(end + seconds)).toBe(false);
      }),
    );
  });

  it("is good for no other job, end or service", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(secret, { minLength: 2, maxLength: 2 }),
        fc.uniqueArray(job, { minLength: 2, maxLength: 2 }),
        fc.uniqueArray(expires, { minLength: 2, maxLength: 2 }),
        async ([key, otherKey], [id, otherId], [end, otherEnd]) => {
          const signature = await signReadLink(key!, { job: id!, expires: end! });
          const verify = (k: string, j: string, e: number) =>
            verifyReadLink(k, { job: j, expires: e }, signature, 0);
          expect(await verify(key!, id!, end!)).toBe(true);
          expect(await verify(otherKey!, id!, end!)).toBe(false);
          expect(await verify(key!, otherId!, end!)).toBe(false);
          expect(await verify(key!, id!, otherEnd!)).toBe(false);
        },
      ),
    );
  });

  it("is not good when any of its digits is altered", async () => {
    await fc.assert(
      fc.asyncProperty(job, expires, fc.nat(63), fc.integer({ min: 1, max: 15 }), async (id, end, at, by) => {
        const grant = { job: id, expires: end };
        const signature = await signReadLink("secret", grant);
        const digit = (Number.parseInt(signature[at]!, 16) + by) % 16;
        const altered = signature.slice(0, at) + digit.toString(16) + signature.slice(at + 1);
        expect(await verifyReadLink("secret", grant, altered, 0)).toBe(false);
        expect(await verifyReadLink("secret", grant, signature.slice(0, at), 0)).toBe(false);
      }),
    );
  });
});

describe("CORS_ORIGINS", () => {
  it("is a list of origins", () => {
    expect([...parseCorsOrigins({})]).toEqual([]);
    expect([...parseCorsOrigins({ CORS_ORIGINS: " https://a.example , http://b.example:8080,," })]).toEqual([
      "https://a.example",
      "http://b.example:8080",
    ]);
    expect([...parseCorsOrigins({ CORS_ORIGINS: "*" })]).toEqual(["*"]);
  });

  it.each([
    "https://a.example/",
    "a.example",
    "https://a.example/page",
    "null",
    "file://x",
    "https://*.example",
  ])("refuses %s", (origin) => {
    expect(() => parseCorsOrigins({ CORS_ORIGINS: origin })).toThrow(/CORS_ORIGINS must be origins/);
  });
});
