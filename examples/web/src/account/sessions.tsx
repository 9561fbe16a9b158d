import { useEffect, useState } from "react";
import { api } from "../api";
import { Failure } from "../form";
import { useFormats, useTexts } from "../language";
import { Title } from "../router";
import { account } from "./texts";

type Session = Awaited<ReturnType<typeof api.auth.sessions.list>>["items"][number];

export function Sessions() {
  const t = useTexts(account);
  const { time } = useFormats();
  const [sessions, set] = useState<readonly Session[]>([]);
  const [error, fail] = useState<unknown>();

  const load = (signal?: AbortSignal) =>
    api.auth.sessions.list({ signal }).then(
      ({ items }) => set(items),
      (reason) => signal?.aborted || fail(reason),
    );
  useEffect(() => {
    const gone = new AbortController();
    void load(gone.signal);
    return () => gone.abort();
  }, []);

  return (
    <>
      <Title>{t.sessions}</Title>
      <Failure error={error} />
      <ul className="cards">
        {sessions.map(({ id, user_agent, ip, last_used_at, current }) => (
          <li key={id}>
            <p>
              <strong>{user_agent || ip}</strong> {current && <span className="badge">{t.current}</span>}
            </p>
            <p>
              <small>
                {t.lastUsed}: <time dateTime={last_used_at}>{time(last_used_at)}</time>, {ip}
              </small>
            </p>
            {!current && (
              <button onClick={() => void api.auth.sessions.delete(id).then(() => load(), fail)}>{t.end}</button>
            )}
          </li>
        ))}
      </ul>
      <p>
        <button onClick={() => void api.auth.signOutEverywhere().catch(fail)}>{t.endAll}</button>
      </p>
    </>
  );
}
