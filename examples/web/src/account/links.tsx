import { isProblem } from "promise-backend-client";
import { useState } from "react";
import { api } from "../api";
import { Field, Form } from "../form";
import { useTexts } from "../language";
import { Link, mailedToken, Title } from "../router";
import { account } from "./texts";

/** Opening the link does nothing: a mail server may do that before a person does. */
export function VerifyEmail() {
  const t = useTexts(account);
  const [token] = useState(mailedToken);
  const [state, set] = useState<"asked" | "needs password" | "done">("asked");
  return (
    <>
      <Title>{t.confirm}</Title>
      {state === "done" ? (
        <Done text={t.confirmed} />
      ) : (
        <Form
          submit={t.confirm}
          at={{ wrong_password: "password" }}
          action={async ({ password }) => {
            try {
              await api.auth.verifyEmail({ token, ...(password && { password }) });
              set("done");
            } catch (error) {
              // Only where the program verifies addresses first, the link takes the password of the registration.
              if (isProblem(error, "validation_failed") && "password" in error.fields()) set("needs password");
              throw error;
            }
          }}
        >
          <p>{t.confirmHint}</p>
          {state === "needs password" && (
            <Field name="password" type="password" label={t.registered} autoComplete="current-password" required />
          )}
        </Form>
      )}
      <p>
        <Link to="/resend-verification">{t.ask}</Link>
      </p>
    </>
  );
}

export function ResetPassword() {
  const t = useTexts(account);
  const [token] = useState(mailedToken);
  const [isDone, setDone] = useState(false);
  return (
    <>
      <Title>{t.reset}</Title>
      {isDone ? (
        <Done text={t.resetDone} />
      ) : (
        <Form
          submit={t.change}
          action={async ({ new_password = "" }) => {
            await api.auth.resetPassword({ token, new_password });
            setDone(true);
          }}
        >
          <Field
            name="new_password"
            type="password"
            label={t.newPassword}
            hint={t.passwordHint}
            autoComplete="new-password"
            required
          />
        </Form>
      )}
      <p>
        <Link to="/forgot-password">{t.ask}</Link>
      </p>
    </>
  );
}

function Done({ text }: { text: string }) {
  const t = useTexts(account);
  return (
    <>
      <p role="status">{text}</p>
      <p>
        <Link to="/sign-in">{t.signIn}</Link>
      </p>
    </>
  );
}

export const ForgotPassword = () => <AskForLink title="forgot" ask={(email) => api.auth.forgotPassword({ email })} />;
export const ResendVerification = () => (
  <AskForLink title="ask" ask={(email) => api.auth.resendVerification({ email })} />
);

/** The answer is the same whether or not the address has an account. */
function AskForLink({ title, ask }: { title: "forgot" | "ask"; ask: (email: string) => Promise<unknown> }) {
  const t = useTexts(account);
  return (
    <>
      <Title>{t[title]}</Title>
      <Form
        submit={t.send}
        action={async ({ email = "" }) => {
          await ask(email);
          return t.mailed;
        }}
      >
        <Field name="email" type="email" label={t.address} autoComplete="email" required />
      </Form>
    </>
  );
}
