import { useState } from "react";
import { api } from "../api";
import { Field, Form } from "../form";
import { useTexts } from "../language";
import { go, Title } from "../router";
import { account } from "./texts";

export function SignUp() {
  const t = useTexts(account);
  const [said, say] = useState("");
  return (
    <>
      <Title>{t.signUp}</Title>
      {said ? (
        <p role="status">{said}</p>
      ) : (
        <Form
          submit={t.signUp}
          at={{ email_taken: "email", username_taken: "username" }}
          action={async ({ name = "", email = "", username, password = "" }) => {
            const made = await api.auth.signUp({ name, email, password, ...(username && { username }) });
            if (made.kind === "mailed") return say(t.mailed);
            await api.auth.signIn({ email, password });
            go("/profile");
          }}
        >
          <Field name="name" label={t.name} autoComplete="name" required />
          <Field name="email" type="email" label={t.address} autoComplete="email" required />
          <Field name="username" label={t.username} autoComplete="off" />
          <Field
            name="password"
            type="password"
            label={t.password}
            hint={t.passwordHint}
            autoComplete="new-password"
            required
          />
        </Form>
      )}
    </>
  );
}
