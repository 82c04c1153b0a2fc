import axe from "axe-core";
import type { Page } from "playwright-core";

interface Finding {
  id: string;
  impact: string | null;
  nodes: { html: string }[];
}

/** What axe finds serious or critical on a page, as "rule: element". */
export async function accessibilityFindings(page: Page): Promise<string[]> {
  // As a debugger would: the page's own policy allows no foreign script.
  await page.evaluate(axe.source);
  const found = (await page.evaluate("axe.run().then((r) => r.violations)")) as Finding[];
  return found
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}
