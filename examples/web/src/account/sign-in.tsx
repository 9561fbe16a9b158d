import type { CodeSent } from "promise-backend-client";
import { useState } from "react";
import { api } from "../api";
import { Field, Form } from "../form";
import { useTexts } from "../language";
import { go, Link, Title } from "../router";
import { account } from "./texts";

/** @param stay whether the path is that of a screen which needs a user: it appears once somebody is signed in. */
export function SignIn({ stay = false }: { stay?: boolean }) {
  const t = useTexts(account);
  const [sent, setSent] = useState<CodeSent>();
  const done = () => {
    if (!stay) go("/profile");
  };
  if (sent) return <Code sent={sent} done={done} />;
  return (
    <>
      <Title>{t.signIn}</Title>
      <Form
        submit={t.signIn}
        at={{ invalid_credentials: "password" }}
        action={async ({ email = "", password = "" }) => {
          const answer = await api.auth.signIn({ email, password });
          if (answer.kind === "code") setSent(answer);
          else done();
        }}
      >
        <Field name="email" type="email" label={t.address} autoComplete="username" required />
        <Field name="password" type="password" label={t.password} autoComplete="current-password" required />
      </Form>
      <p>
        <Link to="/forgot-password">{t.forgot}</Link>
      </p>
    </>
  );
}

function Code({ sent, done }: { sent: CodeSent; done: () => void }) {
  const t = useTexts(account);
  return (
    <>
      <Title>{t.code}</Title>
      <Form
        submit={t.signIn}
        at={{ invalid_code: "code" }}
        action={async ({ code = "" }) => {
          await sent.answer(code);
          done();
        }}
      >
        <Field name="code" label={t.code} hint={t.codeHint} inputMode="numeric" autoComplete="one-time-code" required />
      </Form>
      <Form
        submit={t.resend}
        action={async () => {
          await sent.resend();
          return t.resent;
        }}
      />
    </>
  );
}
