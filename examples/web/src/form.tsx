import { SessionChanged } from "promise-backend-client";
import { createContext, type InputHTMLAttributes, type ReactNode, useContext, useEffect, useId, useRef, useState } from "react";
import { texts, useLanguage, useTexts } from "./language";
import { type Shown, shown } from "./problems";

const common = texts({
  en: { optional: "optional", wait: "One moment …", reference: "Reference" },
  es: { optional: "opcional", wait: "Un momento …", reference: "Referencia" },
});
const NOTHING: Shown = { form: "", fields: {}, requestId: undefined };
const State = createContext<{ errors: Shown["fields"]; busy: boolean }>({ errors: NOTHING.fields, busy: false });

interface FormProps {
  /** What to do with the values. What it returns is said when it is done. */
  action: (values: Record<string, string>) => Promise<string | void>;
  /** The fields at which problems with these codes are shown. */
  at?: Record<string, string>;
  submit: string;
  danger?: boolean;
  children?: ReactNode;
}

/** A form that shows every problem at its field, and says what it did. */
export function Form({ action, at, submit, danger = false, children }: FormProps) {
  const t = useTexts(common);
  const { language } = useLanguage();
  const form = useRef<HTMLFormElement>(null);
  const [state, set] = useState<{ error?: unknown; busy: boolean; done: string }>({ busy: false, done: "" });
  const problem = state.error === undefined ? NOTHING : shown(state.error, language, at);

  useEffect(() => {
    if (state.error === undefined) return;
    const find = (selector: string) => form.current?.querySelector<HTMLElement>(selector);
    (find("[aria-invalid=true]") ?? find("[role=alert]"))?.focus();
  }, [state.error]);

  async function send(): Promise<void> {
    if (state.busy || !form.current) return;
    const values = Object.fromEntries([...new FormData(form.current)].map(([name, text]) => [name, String(text)]));
    set({ busy: true, done: "" });
    try {
      set({ busy: false, done: (await action(values)) ?? "" });
    } catch (error) {
      set(error instanceof SessionChanged ? { busy: false, done: "" } : { error, busy: false, done: "" });
    }
  }

  return (
    <form ref={form} noValidate aria-busy={state.busy} onSubmit={(event) => (event.preventDefault(), void send())}>
      {problem.form && (
        <p className="problem" role="alert" tabIndex={-1}>
          {problem.form}
          {problem.requestId && <small>{` ${t.reference}: ${problem.requestId}`}</small>}
        </p>
      )}
      <State.Provider value={{ errors: problem.fields, busy: state.busy }}>{children}</State.Provider>
      <p>
        <button className={danger ? "danger" : "primary"} aria-disabled={state.busy}>
          {state.busy ? t.wait : submit}
        </button>{" "}
        <span role="status">{state.done}</span>
      </p>
    </form>
  );
}

interface FieldProps extends InputHTMLAttributes<HTMLInputElement> {
  name: string;
  label: string;
  hint?: string | undefined;
}

/** An input with its label, its hint and its problem. */
export function Field({ label, hint, required = false, ...input }: FieldProps) {
  const id = useId();
  const t = useTexts(common);
  const error = useContext(State).errors[input.name];
  return (
    <p className="field">
      <label htmlFor={id}>
        {label} {!required && <small>({t.optional})</small>}
      </label>
      {hint && <small id={`${id}-hint`}>{hint}</small>}
      <input
        id={id}
        aria-required={required}
        aria-invalid={error !== undefined}
        aria-describedby={[error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ") || undefined}
        {...input}
      />
      {error && (
        <span id={`${id}-error`} className="error">
          {error}
        </span>
      )}
    </p>
  );
}

/** A problem of what was loaded. */
export function Failure({ error }: { error: unknown }) {
  const { language } = useLanguage();
  return error === undefined ? null : (
    <p className="problem" role="alert">
      {shown(error, language).form}
    </p>
  );
}
