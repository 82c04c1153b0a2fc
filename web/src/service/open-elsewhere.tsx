import { useState } from "preact/hooks";
import { listOutputNames, quPathScript, type ReadLink, requestReadLink, viewerLinks } from "./read-links.ts";

/** Outputs whose address other programs take. */
const ADDRESSED = [
  "labels.ome.zarr",
  "labels.ome.tiff",
  "labels.nii.gz",
  "labels.seg.dcm",
  "objects.parquet",
];

/** Results in other programs, by a link that ends by itself. Nothing is made before the user asks for it. */
export function OpenElsewhere({ token, job }: { token: string; job: string }) {
  const [shown, setShown] = useState<{ link: ReadLink; outputs: Set<string> }>();
  const [problem, setProblem] = useState<string>();
  const [told, setTold] = useState("");
  const open = async () => {
    if (shown) return setShown(undefined);
    try {
      const [link, outputs] = await Promise.all([
        requestReadLink(location.origin, token, job),
        listOutputNames(location.origin, token, job),
      ]);
      setShown({ link, outputs });
      setProblem(undefined);
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  const copy = async (text: string, what: string) => {
    try {
      await navigator.clipboard.writeText(text);
      setTold(`${what} copied`);
    } catch {
      setTold("The browser did not allow copying");
    }
  };
  return (
    <div class="elsewhere">
      <button type="button" aria-expanded={shown !== undefined} onClick={() => void open()}>
        Open elsewhere
      </button>
      {problem && (
        <p role="alert" class="problem">
          {problem}
        </p>
      )}
      {shown && (
        <section aria-label="Open elsewhere">
          <p>
            Whoever has one of these links can read the results of this job until{" "}
            {new Date(shown.link.expiresAt).toLocaleTimeString()}, without a token.
          </p>
          <ul>
            {viewerLinks(shown.link, shown.outputs).map(({ name, href, origin, isAllowed }) => (
              <li key={name}>
                {isAllowed ? (
                  <a href={href} target="_blank" rel="noreferrer noopener">
                    {name}
                  </a>
                ) : (
                  <>
                    {name}: the service must allow <code>{origin}</code> in CORS_ORIGINS first
                  </>
                )}
              </li>
            ))}
            {ADDRESSED.filter((name) => shown.outputs.has(name)).map((name) => (
              <li key={name}>
                <button type="button" onClick={() => void copy(shown.link.base + name, `Address of ${name}`)}>
                  Copy the address of {name}
                </button>
              </li>
            ))}
            {shown.outputs.has("objects.geojson") && (
              <li>
                <button type="button" onClick={() => void copy(quPathScript(shown.link), "QuPath script")}>
                  Copy a script for QuPath
                </button>
              </li>
            )}
          </ul>
          <output>{told}</output>
        </section>
      )}
    </div>
  );
}
