import { api } from "../api";
import { Field, Form } from "../form";
import { useTexts } from "../language";
import { go, Title } from "../router";
import { useMe } from "../user";
import { account } from "./texts";

export function Security() {
  const t = useTexts(account);
  const { me, reload } = useMe();
  const isOn = me.data.two_step;
  const password = (
    <Field name="password" type="password" label={t.currentPassword} autoComplete="current-password" required />
  );
  return (
    <>
      <Title>{t.security}</Title>
      <section>
        <h2>{t.twoStep}</h2>
        <p>{isOn ? t.twoStepIsOn : t.twoStepIsOff}</p>
        <Form
          key={String(isOn)}
          submit={isOn ? t.turnOff : t.turnOn}
          at={{ wrong_password: "password" }}
          action={async ({ password = "" }) => {
            await api.auth.twoStep({ enabled: !isOn, password });
            reload();
          }}
        >
          {password}
        </Form>
      </section>
      <section>
        <h2>{t.change}</h2>
        <Form
          submit={t.change}
          at={{ wrong_password: "old_password" }}
          action={async ({ old_password = "", new_password = "" }) => {
            await api.auth.changePassword({ old_password, new_password });
            return t.changed;
          }}
        >
          <Field
            name="old_password"
            type="password"
            label={t.currentPassword}
            autoComplete="current-password"
            required
          />
          <Field
            name="new_password"
            type="password"
            label={t.newPassword}
            hint={t.passwordHint}
            autoComplete="new-password"
            required
          />
        </Form>
      </section>
      {!isOn && (
        <section>
          <h2>{t.danger}</h2>
          <p>{t.deletion}</p>
          <Form
            danger
            submit={t.danger}
            at={{ wrong_password: "password" }}
            action={async ({ password = "" }) => {
              await api.auth.reauthenticate(password);
              await api.users.me.delete();
              go("/sign-up");
            }}
          >
            {password}
          </Form>
        </section>
      )}
    </>
  );
}
