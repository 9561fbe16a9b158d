import type { Screen } from "../screens";
import { ForgotPassword, ResendVerification, ResetPassword, VerifyEmail } from "./links";
import { Profile } from "./profile";
import { Security } from "./security";
import { Sessions } from "./sessions";
import { SignIn } from "./sign-in";
import { SignUp } from "./sign-up";
import { account } from "./texts";

const named = (name: keyof typeof account.en) => ({ en: account.en[name], es: account.es[name] });

export const screens: readonly Screen[] = [
  { path: "/", show: Profile, needs: "user" },
  { path: "/sign-in", show: () => <SignIn /> },
  { path: "/sign-up", show: SignUp },
  { path: "/forgot-password", show: ForgotPassword },
  { path: "/resend-verification", show: ResendVerification },
  { path: "/verify-email", show: VerifyEmail },
  { path: "/reset-password", show: ResetPassword },
  { path: "/profile", show: Profile, needs: "user", nav: named("profile") },
  { path: "/security", show: Security, needs: "user", nav: named("security") },
  { path: "/sessions", show: Sessions, needs: "user", nav: named("sessions") },
];
