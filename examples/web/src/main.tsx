import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { SignIn } from "./account/sign-in";
import { api, chooseSessionKind, sessionKind, sessionKinds } from "./api";
import { Failure } from "./form";
import { type Language, Languages, languages, texts, useLanguage, useTexts } from "./language";
import { go, Link, Title, usePath } from "./router";
import { screenOf, screens } from "./screens";
import "./style.css";
import { CurrentUser } from "./user";

const shell = texts({
  en: {
    main: "Main",
    skip: "Skip to the content",
    signIn: "Sign in",
    signUp: "Sign up",
    signOut: "Sign out",
    language: "Language",
    session: "Session kept in",
    cookie: "cookies",
    local: "local storage",
    memory: "memory of this tab",
    missing: "There is nothing here",
    forbidden: "For administrators",
    loading: "Loading …",
  },
  es: {
    main: "Principal",
    skip: "Ir al contenido",
    signIn: "Iniciar sesión",
    signUp: "Crear cuenta",
    signOut: "Cerrar sesión",
    language: "Idioma",
    session: "Sesión guardada en",
    cookie: "cookies",
    local: "almacenamiento local",
    memory: "memoria de esta pestaña",
    missing: "Aquí no hay nada",
    forbidden: "Solo para administradores",
    loading: "Cargando …",
  },
});

type Me = NonNullable<Parameters<Parameters<typeof CurrentUser>[0]["children"]>[0]["data"]>["data"];

function Header({ me }: { me: Me | undefined }) {
  const t = useTexts(shell);
  const [error, fail] = useState<unknown>();
  const { language, choose } = useLanguage();
  const isAdmin = me?.roles.includes("admin");
  const shown = screens.filter(({ needs }) => !needs || (needs === "admin" ? isAdmin : me));
  return (
    <header>
      <a className="skip" href="#content">
        {t.skip}
      </a>
      <nav aria-label={t.main}>
        {shown.map(({ path, nav }) => nav && <Link key={path} to={path} children={nav[language]} />)}
        {me ? (
          <button onClick={() => void api.auth.signOut().then(() => (fail(undefined), go("/sign-in")), fail)}>{t.signOut}</button>
        ) : (
          <>
            <Link to="/sign-in">{t.signIn}</Link>
            <Link to="/sign-up">{t.signUp}</Link>
          </>
        )}
      </nav>
      <label>
        <span className="unseen">{t.language}</span>
        <select value={language} onChange={(event) => choose(event.target.value as Language)}>
          {Object.entries(languages).map(([code, name]) => (
            <option key={code} value={code} lang={code}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {me && <Failure error={error} />}
    </header>
  );
}

function Footer() {
  const t = useTexts(shell);
  return (
    <footer>
      <label>
        {t.session}{" "}
        <select value={sessionKind} onChange={(event) => chooseSessionKind(event.target.value)}>
          {sessionKinds.map((kind) => (
            <option key={kind} value={kind}>
              {t[kind]}
            </option>
          ))}
        </select>
      </label>
    </footer>
  );
}

/** @param isWaiting whether the profile of whoever is signed in is on its way. */
function Content({ me, isWaiting }: { me: Me | undefined; isWaiting: boolean }) {
  const t = useTexts(shell);
  const path = usePath();
  const found = screenOf(path);
  if (isWaiting && found?.screen.needs) return <p role="status">{t.loading}</p>;
  if (!found) return <Title>{t.missing}</Title>;
  const { screen, id } = found;
  if (screen.needs && !me) return <SignIn stay />;
  if (screen.needs === "admin" && !me?.roles.includes("admin")) return <Title>{t.forbidden}</Title>;
  return <screen.show key={path} id={id} />;
}

function App() {
  return (
    <CurrentUser>
      {({ data, error, isLoading }) => (
        <>
          <Header me={data?.data} />
          <main id="content">
            <Content me={data?.data} isWaiting={data === undefined && isLoading && api.auth.isSignedIn()} />
            <Failure error={error} />
          </main>
          <Footer />
        </>
      )}
    </CurrentUser>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Languages>
      <App />
    </Languages>
  </StrictMode>,
);
