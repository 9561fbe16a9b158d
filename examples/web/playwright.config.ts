import { defineConfig } from "@playwright/test";

const { CHROMIUM = "/usr/bin/chromium", WEB = "http://127.0.0.1:5173", SCREENSHOTS = "../../var/e2e" } = process.env;

/** The program runs already: tests/e2e/test_browser.py starts it. The sample is built for its address, and served here. */
export default defineConfig({
  testDir: "e2e",
  outputDir: `${SCREENSHOTS}/failures`,
  timeout: 120_000, // a busy machine: every step waits for a condition, so a quick one is quick
  expect: { timeout: 30_000 },
  workers: 1,
  reporter: "list",
  use: {
    baseURL: WEB,
    locale: "en",
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    },
  },
  webServer: {
    reuseExistingServer: !process.env.CI,
    command: `npm run build && npm run preview -- --host 127.0.0.1 --strictPort --port ${new URL(WEB).port}`,
    url: WEB,
    timeout: 120_000,
  },
});
