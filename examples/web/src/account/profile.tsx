import { useState } from "react";
import { api } from "../api";
import { Field, Form } from "../form";
import { useTexts } from "../language";
import { Title } from "../router";
import { useMe } from "../user";
import { account } from "./texts";

interface Fields {
  name: string;
  phone_number: string | null;
}
type Changes = Partial<Fields>;
const NAMES = ["name", "phone_number"] as const;

export function Profile() {
  const t = useTexts(account);
  const { me: loaded, reload } = useMe();
  const [saved, keep] = useState<typeof loaded>();
  const [said, say] = useState("");
  const me = saved ?? loaded;
  const [conflict, setConflict] = useState<{ mine: Changes; theirs: Fields }>();

  /** The fields that the user changed; whoever changed others meanwhile loses nothing. */
  async function save(wanted: Fields): Promise<void> {
    say("");
    const mine: Changes = Object.fromEntries(NAMES.filter((name) => wanted[name] !== me.data[name]).map((name) => [name, wanted[name]]));
    if (Object.keys(mine).length > 0) {
      const changed = await me.update(mine, {
        onConflict: (_, theirs) => {
          const both = NAMES.filter((name) => name in mine && theirs[name] !== me.data[name] && theirs[name] !== mine[name]);
          if (both.length === 0) return mine;
          setConflict({ mine, theirs });
          return undefined;
        },
      });
      keep(changed);
    }
    say(t.saved);
  }

  return (
    <>
      <Title>{t.profile}</Title>
      <p>
        {me.data.email} {me.data.email_verified && <span className="badge">✓ {t.confirmed}</span>}
      </p>
      <Form
        key={me.etag}
        submit={t.save}
        action={({ name = "", phone_number = "" }) => save({ name, phone_number: phone_number || null })}
      >
        <Field name="name" label={t.name} defaultValue={me.data.name} autoComplete="name" required />
        <Field
          name="phone_number"
          label={t.phone}
          hint={t.phoneHint}
          defaultValue={me.data.phone_number ?? ""}
          type="tel"
          autoComplete="tel"
        />
      </Form>
      <p role="status">{said}</p>
      {conflict && (
        <Conflict
          {...conflict}
          settle={async (chosen) => {
            if (chosen) await api.users.me.update(chosen);
            setConflict(undefined);
            keep(undefined);
            reload();
          }}
        />
      )}
    </>
  );
}

function Conflict(props: { mine: Changes; theirs: Fields; settle: (chosen: Changes | undefined) => Promise<void> }) {
  const t = useTexts(account);
  const { mine, theirs, settle } = props;
  const labels = { name: t.name, phone_number: t.phone };
  return (
    <section className="problem" role="alert">
      <p>{t.conflict}</p>
      <dl>
        {NAMES.filter((name) => name in mine).map((name) => (
          <div key={name}>
            <dt>{labels[name]}</dt>
            <dd>
              {t.mine}: <strong>{mine[name] ?? "–"}</strong>
            </dd>
            <dd>
              {t.theirs}: <strong>{theirs[name] ?? "–"}</strong>
            </dd>
          </div>
        ))}
      </dl>
      <p>
        <button onClick={() => void settle(mine)}>{t.keepMine}</button>{" "}
        <button onClick={() => void settle(undefined)}>{t.takeTheirs}</button>
      </p>
    </section>
  );
}
