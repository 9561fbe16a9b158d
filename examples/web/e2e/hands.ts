/** What a person does on the sample's screens. */
import { expect, type Page } from "@playwright/test";

/** Types into the fields with these labels. */
export async function fill(page: Page, fields: Record<string, string>): Promise<void> {
  for (const [label, text] of Object.entries(fields)) await field(page, label).fill(text);
}

/** The field with exactly this label. */
export const field = (page: Page, label: string) => page.getByLabel(new RegExp(`^\\s*${label}\\s*(\\(optional\\))?\\s*$`));

export async function choose(page: Page, label: string, option: string): Promise<void> {
  await page.getByLabel(label).selectOption(option);
}

/** @param then the heading that follows. */
export async function signIn(page: Page, { email, password }: { email: string; password: string }, then = "Profile"): Promise<void> {
  await page.goto("/sign-in");
  await fill(page, { "E-mail address": email, Password: password });
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("heading", { name: then })).toBeVisible();
}
