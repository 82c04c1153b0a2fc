import { useEffect, useState } from "preact/hooks";
import { type PageSession, readViewSession, takeToken } from "../data/session.ts";
import { HerePage } from "../here/here-page.tsx";
import { ViewerPage } from "../viewer/viewer-page.tsx";

/** Chooses the page by the address and by what the server offers. */
export function App() {
  const [session, setSession] = useState<PageSession>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    readViewSession(takeToken()).then(
      (found) =>
        found ? setSession(found) : setProblem("This server shows no scan; run tilewright view <scan>."),
      (error: Error) => setProblem(error.message),
    );
  }, []);
  if (session?.scan && location.pathname !== "/here") return <ViewerPage scan={session.scan} />;
  if (session) return <HerePage models={session.models} />;
  return (
    <main class="plain">
      <h1>Tilewright</h1>
      {problem ? <p role="alert">{problem}</p> : <output>Opening …</output>}
    </main>
  );
}
