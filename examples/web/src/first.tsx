import { createClient, isProblem } from "promise-backend-client";
import { useUser } from "promise-backend-client/react";
import { type FormEvent, useState } from "react";
import { createRoot } from "react-dom/client";

const api = createClient({ baseUrl: import.meta.env["VITE_API_URL"] ?? "http://127.0.0.1:8000", session: "cookie" });

function Page() {
  const user = useUser(api);
  return user.data ? <Home name={user.data.data.name} /> : <SignIn />;
}

const Home = ({ name }: { name: string }) => (
  <p>
    Hello {name} <button onClick={() => void api.auth.signOut()}>Sign out</button>
  </p>
);

function SignIn() {
  const [problem, say] = useState("");
  const signIn = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    try {
      await api.auth.signIn({ email: String(form.get("email")), password: String(form.get("password")) });
    } catch (error) {
      say(isProblem(error) ? error.detail : "The API cannot be reached.");
    }
  };
  return (
    <form onSubmit={(event) => void signIn(event)}>
      <input name="email" type="email" aria-label="E-mail address" autoComplete="username" />
      <input name="password" type="password" aria-label="Password" autoComplete="current-password" />
      <button>Sign in</button>
      <p role="alert">{problem}</p>
    </form>
  );
}

createRoot(document.getElementById("root")!).render(<Page />);
