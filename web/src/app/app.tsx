import { useEffect, useState } from "preact/hooks";
import { readViewSession, takeToken, type ViewedScan } from "../data/session.ts";
import { ViewerPage } from "../viewer/viewer-page.tsx";

/** Chooses the page by what the server offers. */
export function App() {
  const [scan, setScan] = useState<ViewedScan>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    readViewSession(takeToken()).then(
      (found) =>
        found ? setScan(found) : setProblem("This server shows no scan; run tilewright view <scan>."),
      (error: Error) => setProblem(error.message),
    );
  }, []);
  if (scan) return <ViewerPage scan={scan} />;
  return (
    <main class="plain">
      <h1>Tilewright</h1>
      {problem ? <p role="alert">{problem}</p> : <output>Opening …</output>}
    </main>
  );
}
