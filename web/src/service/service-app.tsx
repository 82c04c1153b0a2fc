import { useEffect, useState } from "preact/hooks";
import { keepToken } from "../data/session.ts";
import { CohortView } from "./cohort-view.tsx";
import { CohortsPage } from "./cohorts-page.tsx";
import { JobView } from "./job-view.tsx";
import { JobsPage } from "./jobs-page.tsx";
import { SignIn } from "./sign-in.tsx";
import { UploadView } from "./upload-view.tsx";

/** The pages of a job service: `/` lists scans, `/job?id=` shows one, `/scan?upload=` an upload without a job, `/cohort` lists cohorts, `/cohort?id=` shows one. */
export function ServiceApp({ token: first }: { token: string | undefined }) {
  const [token, setToken] = useState(first);
  const [job, setJob] = useState(jobOfAddress);
  const [upload, setUpload] = useState(uploadOfAddress);
  useEffect(() => {
    const follow = () => {
      setJob(jobOfAddress());
      setUpload(uploadOfAddress());
    };
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }, []);
  const go = (id: string | undefined) => {
    history.pushState(null, "", id === undefined ? "/" : `/job?id=${id}`);
    setJob(id);
    setUpload(undefined);
  };
  const openUpload = (id: string) => {
    history.pushState(null, "", `/scan?upload=${id}`);
    setUpload(id);
  };
  const signOut = () => {
    keepToken(undefined);
    setToken(undefined);
  };
  if (token === undefined) return <SignIn onToken={setToken} />;
  if (location.pathname === "/cohort" && cohortOfAddress() === undefined)
    return <CohortsPage token={token} />;
  const cohort = cohortOfAddress();
  if (cohort !== undefined) return <CohortView token={token} cohort={cohort} />;
  if (job !== undefined)
    return (
      <JobView
        key={job}
        token={token}
        job={job}
        other={otherOfAddress()}
        onBack={() => go(undefined)}
        onOpen={go}
      />
    );
  if (upload !== undefined)
    return <UploadView key={upload} token={token} upload={upload} onBack={() => go(undefined)} onOpen={go} />;
  return <JobsPage token={token} onOpen={go} onOpenUpload={openUpload} onSignOut={signOut} />;
}

function cohortOfAddress(): string | undefined {
  const id = new URLSearchParams(location.search).get("id") ?? "";
  return location.pathname === "/cohort" && /^[0-9a-f]{32}$/.test(id) ? id : undefined;
}

/** The job that the shown one is compared with. */
function otherOfAddress(): string | undefined {
  const id = new URLSearchParams(location.search).get("with") ?? "";
  return /^[0-9a-f]{32}$/.test(id) ? id : undefined;
}

/** A scan that was uploaded without a job. */
function uploadOfAddress(): string | undefined {
  const id = new URLSearchParams(location.search).get("upload") ?? "";
  return location.pathname === "/scan" && /^[0-9a-f]{32}$/.test(id) ? id : undefined;
}

function jobOfAddress(): string | undefined {
  const id = new URLSearchParams(location.search).get("id") ?? "";
  return location.pathname === "/job" && /^[0-9a-f]{32}$/.test(id) ? id : undefined;
}
