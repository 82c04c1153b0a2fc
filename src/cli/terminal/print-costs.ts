import type { CohortForecast } from "../../cohort/forecast.ts";
import { duration, usd } from "../../local/format.ts";

/** Prints time and cost on each backend. */
export function printCosts({ backends, pricesOf }: Pick<CohortForecast, "backends" | "pricesOf">): void {
  for (const { backend, seconds, usd: amount, assumes } of backends) {
    console.log(`  ${backend.padEnd(8)}  about ${duration(seconds)}, ${usd(amount)}`);
    console.log(`            (${assumes})`);
  }
  console.log(`  prices of ${pricesOf}; storage and transfer are left out`);
}
