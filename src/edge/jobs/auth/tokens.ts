import * as z from "zod";
import { MIN_TOKEN_LENGTH } from "../../../service/bearer.ts";
import { equalInConstantTime } from "../../../service/constant-time.ts";
import { HttpError } from "../../../service/http-error.ts";
import { parseJsonBinding } from "../../shared/json-binding.ts";

export const SCOPES = ["submit", "read", "source", "work", "admin"] as const;
/**
 * `submit`: upload, start and cancel, and the model; `read`: status, events, outputs; `source`: pixels of the scans of jobs and uploads;
 * `work`: shards and pixels of any job, for runners; `admin`: everything.
 */
export type Scope = (typeof SCOPES)[number];

const tokensSchema = z
  .array(
    z.strictObject({
      /** For logs. */
      name: z.string().regex(/^[\w][\w .@-]{0,63}$/),
      /** Characters that an `Authorization` header can hold. */
      token: z
        .string()
        .min(MIN_TOKEN_LENGTH)
        .max(512)
        .regex(/^[\x21-\x7e]+$/),
      scopes: z.array(z.enum(SCOPES)).min(1),
    }),
  )
  .min(1)
  .max(64)
  .refine((tokens) => areDistinct(tokens.map((t) => t.name)) && areDistinct(tokens.map((t) => t.token)));

export type Token = z.output<typeof tokensSchema>[number];

const EXPECTED = `a JSON list of { "name", "token" of at least ${MIN_TOKEN_LENGTH} characters, "scopes": some of ${SCOPES.join(", ")} }, no name or token twice`;

/** @throws {HttpError} 503 where no token is configured: there is no access without tokens */
export function parseTokens(env: { TOKENS?: string }): readonly Token[] {
  const tokens = parseJsonBinding("TOKENS", env.TOKENS, tokensSchema, EXPECTED);
  if (tokens) return tokens;
  throw new HttpError(
    503,
    "not_configured",
    'this Worker has no tokens yet; set them with "wrangler secret put TOKENS"',
  );
}

/** Compares all tokens even after a match, so that timing does not reveal which one matched. */
export async function findToken(tokens: readonly Token[], given: string): Promise<Token | undefined> {
  const matches = await Promise.all(tokens.map(({ token }) => equalInConstantTime(given, token)));
  return tokens[matches.indexOf(true)];
}

export function allows({ scopes }: Token, scope: Scope): boolean {
  return scopes.includes(scope) || scopes.includes("admin");
}

function areDistinct(values: readonly string[]): boolean {
  return new Set(values).size === values.length;
}
