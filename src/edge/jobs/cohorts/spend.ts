/** What a cohort has cost, and what is known of its future cost; all in USD. */
export interface Spend {
  /** null: no limit. */
  limit: number | null;
  /** Cost of the scans that have ended. */
  spent: number;
  /** Forecasts of the running scans; undefined for a scan that is not planned yet. */
  running: readonly (number | undefined)[];
  /** Mean of all forecasts so far; undefined while there is none. */
  mean: number | undefined;
}

export type BudgetDecision =
  | { kind: "start" }
  /** Until the first forecast is known. */
  | { kind: "wait" }
  /** The limit would have to be `neededUsd`. */
  | { kind: "overBudget"; neededUsd: number };

/** Forecast of the running scans; a scan that is not planned counts as the mean of those that are. */
export function forecastRunning({ running, mean = 0 }: Pick<Spend, "running" | "mean">): number {
  return running.reduce<number>((sum, usd) => sum + (usd ?? mean), 0);
}

/**
 * Decides whether another scan may start. With a limit and no forecast yet, one scan starts alone to give the first.
 * @param next forecast of that scan, where it was planned before
 */
export function budgetDecision(spend: Spend, next: number | undefined): BudgetDecision {
  const { limit, spent, running, mean } = spend;
  if (limit === null) return { kind: "start" };
  const forecast = next ?? mean;
  if (forecast === undefined && running.length > 0) return { kind: "wait" };
  const neededUsd = spent + forecastRunning(spend) + (forecast ?? 0);
  // Once the limit is reached, not even a scan without a forecast starts.
  return neededUsd > limit || spent >= limit ? { kind: "overBudget", neededUsd } : { kind: "start" };
}

/** The sentence that says why a cohort over its limit waits. */
export function overBudgetMessage(spend: Spend, neededUsd: number): string {
  const used = spend.spent + forecastRunning(spend);
  return `${usd(used)} USD are spent or under way and another scan would make it about ${usd(neededUsd)}: raise spendLimitUsd above ${usd(spend.limit!)} to go on`;
}

function usd(amount: number): string {
  return String(Number(amount.toPrecision(3)));
}
