/** What a cohort has cost, and what it knows of what is to come; all in USD. */
export interface Spend {
  /** null: no limit. */
  limit: number | null;
  /** Of what has ended. */
  spent: number;
  /** Forecasts of what is under way; undefined of a scan that is not planned yet. */
  running: readonly (number | undefined)[];
  /** Mean of all forecasts so far; undefined while there is none. */
  mean: number | undefined;
}

/** What is under way; a scan that is not planned counts as the mean of those that were. */
export function forecastOf({ running, mean = 0 }: Pick<Spend, "running" | "mean">): number {
  return running.reduce<number>((sum, usd) => sum + (usd ?? mean), 0);
}

/**
 * Whether another scan may begin. Where there is a limit and nothing is known yet, one scan begins alone and tells what
 * one costs.
 * @param next forecast of the scan that would begin, where it was planned before
 * @returns "wait" until more is known; a number: the limit would have to be that many USD
 */
export function mayBegin(spend: Spend, next: number | undefined): "yes" | "wait" | number {
  const { limit, spent, running, mean } = spend;
  if (limit === null) return "yes";
  const known = next ?? mean;
  if (known === undefined && running.length > 0) return "wait";
  const needed = spent + forecastOf(spend) + (known ?? 0);
  // Of a limit that is reached already not even the first is begun.
  return needed > limit || spent >= limit ? needed : "yes";
}

/** A sentence for a cohort that stands still. */
export function spendReason(spend: Spend, needed: number): string {
  const used = spend.spent + forecastOf(spend);
  return `${usd(used)} USD are spent or under way and another scan would make it about ${usd(needed)}: raise spendLimitUsd above ${usd(spend.limit!)} to go on`;
}

function usd(amount: number): string {
  return String(Number(amount.toPrecision(3)));
}
