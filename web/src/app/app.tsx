import type { ComponentType } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { prepareImageWorker } from "../data/image-client.ts";
import { type PageSession, readViewSession, takeToken, type ViewedCohort } from "../data/session.ts";
import { HerePage } from "../here/here-page.tsx";
import { regionTools } from "../region/open-region-tools.ts";
import { viewRegion } from "../region/view-region.ts";
import { ViewerPage } from "../viewer/viewer-page.tsx";

// An address of `tilewright view`, of a job or an upload: most show an image.
if (/^#token=/.test(location.hash) ? location.pathname === "/" : /^\/(job|scan)$/.test(location.pathname))
  prepareImageWorker();

/** Chooses the page by the address and by what the server offers. */
export function App() {
  return location.pathname === "/docs" ? <Docs /> : <Scans />;
}

/** The routes of a service, loaded when they are looked up. */
function Docs() {
  const [Page, setPage] = useState<{ page: ComponentType }>();
  useEffect(() => {
    void import("../docs/docs-page.tsx").then(({ DocsPage }) => setPage({ page: DocsPage }));
  }, []);
  return Page ? <Page.page /> : null;
}

/** The table of a cohort, loaded when there is one. */
function Cohort({ cohort }: { cohort: ViewedCohort }) {
  const [Page, setPage] = useState<{ page: ComponentType<{ cohort: ViewedCohort }> }>();
  useEffect(() => {
    void import("../cohort/cohort-page.tsx").then(({ CohortPage }) => setPage({ page: CohortPage }));
  }, []);
  return Page ? <Page.page cohort={cohort} /> : null;
}

function Scans() {
  const [session, setSession] = useState<PageSession>();
  const [problem, setProblem] = useState<string>();
  const [token] = useState(takeToken);
  const [Service, setService] = useState<{ app: ComponentType<{ token: string | undefined }> }>();
  useEffect(() => {
    const open = async () => {
      const found = await readViewSession(token);
      if (found) return setSession(found);
      // A job service: its pages are loaded when they are needed.
      const { ServiceApp } = await import("../service/service-app.tsx");
      setService({ app: ServiceApp });
    };
    open().catch((error: Error) => setProblem(error.message));
  }, [token]);
  useEffect(() => {
    // The address of the command, opened again in the same tab, may hold a new token.
    const follow = () => {
      if (!new URLSearchParams(location.hash.slice(1)).has("token")) return;
      takeToken();
      location.reload();
    };
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  const tools = useMemo(() => {
    const [scan, model] = [session?.scan, session?.models[0]];
    return scan?.image && model ? regionTools(viewRegion(scan, model)) : undefined;
  }, [session]);
  if (Service) return <Service.app token={token} />;
  if (session?.scan && location.pathname !== "/here")
    return (
      <ViewerPage scan={session.scan} tools={tools}>
        {new URLSearchParams(location.search).has("scan") && <a href="/">All scans of the cohort</a>}
      </ViewerPage>
    );
  if (session?.cohort && location.pathname !== "/here") return <Cohort cohort={session.cohort} />;
  if (session) return <HerePage models={session.models} />;
  return (
    <main class="plain">
      <h1>Tilewright</h1>
      {problem ? <p role="alert">{problem}</p> : <output>Opening …</output>}
    </main>
  );
}
