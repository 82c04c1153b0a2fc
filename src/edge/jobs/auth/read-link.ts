import { equalInConstantTime } from "../../../service/constant-time.ts";
import { hmacSha256Hex } from "../../../storage/digest.ts";

export const MIN_LINK_SECONDS = 60;
export const MAX_LINK_SECONDS = 24 * 3600;
export const DEFAULT_LINK_SECONDS = 3600;

/** What a read link grants: the results of one job until a time. */
export interface ReadGrant {
  job: string;
  /** Seconds since 1970. */
  expires: number;
}

/**
 * Signature of a read link: HMAC-SHA256 over job and end, hex.
 * @param secret TOKENS of the service, so that every link ends when a token is added or withdrawn
 */
export function signReadLink(secret: string, { job, expires }: ReadGrant): Promise<string> {
  // The first line keeps this signature apart from any other that is made with the same key.
  return hmacSha256Hex(secret, `tilewright read link 1\n${job}\n${expires}`);
}

/** Whether a link was signed for exactly this job and end, and has not ended. @param now seconds since 1970 */
export async function verifyReadLink(
  secret: string,
  grant: ReadGrant,
  signature: string,
  now: number,
): Promise<boolean> {
  const isRight = await equalInConstantTime(signature, await signReadLink(secret, grant));
  return isRight && Number.isSafeInteger(grant.expires) && now < grant.expires;
}
