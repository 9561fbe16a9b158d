import { Problem } from "promise-backend-client";
import { useOperation } from "promise-backend-client/react";
import { useId, useState } from "react";
import { api } from "../api";
import { Failure } from "../form";
import { useLanguage, useTexts } from "../language";
import { shown } from "../problems";
import { Title } from "../router";
import { words } from "./texts";

const KEY = "import";

/** Sends a file, then follows the operation. Its handle is kept, so closing the page loses sight of nothing. */
export function Import() {
  const t = useTexts(words);
  const id = useId();
  const [file, choose] = useState<File>();
  const [sent, setSent] = useState<number>();
  const [handle, setHandle] = useState(() => sessionStorage.getItem(KEY) ?? undefined);
  const [error, fail] = useState<unknown>();

  async function send(): Promise<void> {
    if (!file) return;
    fail(undefined);
    setHandle(undefined);
    setSent(0);
    try {
      const started = await api.products.import.start(file, { onSent: (bytes, total) => setSent(bytes / total) });
      sessionStorage.setItem(KEY, started.id);
      setHandle(started.id);
    } catch (reason) {
      fail(reason);
    } finally {
      setSent(undefined);
    }
  }

  return (
    <>
      <Title>{t.import}</Title>
      <form onSubmit={(event) => (event.preventDefault(), void send())}>
        <p className="field">
          <label htmlFor={id}>{t.file}</label>
          <small id={`${id}-hint`}>{t.fileHint}</small>
          <input
            id={id}
            type="file"
            accept=".csv,.ndjson,.jsonl"
            aria-describedby={`${id}-hint`}
            onChange={(event) => choose(event.target.files?.[0])}
          />
        </p>
        <button className="primary" aria-disabled={!file || sent !== undefined}>
          {t.upload}
        </button>
      </form>
      <Failure error={error} />
      {sent !== undefined && (
        <p>
          <progress value={sent} aria-label={t.sent} /> {Math.round(100 * sent)} % {t.sent}
        </p>
      )}
      {handle && <Outcome key={handle} handle={handle} />}
    </>
  );
}

function Outcome({ handle }: { handle: string }) {
  const t = useTexts(words);
  const { language } = useLanguage();
  const { progress, status, error } = useOperation(api, handle);
  if (error !== undefined) return <Failure error={error} />;
  if (!progress) return <p role="status">{t.waits}</p>;
  const { done, total, failed, failures } = progress;
  return (
    <section>
      <p>
        <progress value={done} max={total} aria-label={t.processed} />
      </p>
      <p role={status === "pending" ? undefined : "status"}>{`${done} / ${total} ${t.processed}`}</p>
      {failed > 0 && (
        <>
          <p>{`${failed} ${t.failed}`}</p>
          <table>
            <thead>
              <tr>
                <th scope="col">{t.line}</th>
                <th scope="col">{t.why}</th>
              </tr>
            </thead>
            <tbody>
              {failures.map(({ line, problem }) => (
                <tr key={line}>
                  <td>{line}</td>
                  <td>
                    {problem.errors?.map((one) => `${one.pointer?.slice(1)}: ${one.detail}`).join(" ") ||
                      shown(new Problem(problem), language).form}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </section>
  );
}
