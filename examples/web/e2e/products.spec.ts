import { ADMIN, expect, fits, test } from "./world";
import { choose, field, fill, signIn } from "./hands";

const names = (page: import("@playwright/test").Page) => page.getByRole("list", { name: "Products" }).getByRole("link");

/** A CSV file of about so many bytes, 4,000 a row; every hundredth row has a fault. */
function products(bytes: number, prefix: string): Buffer {
  const words = "word ".repeat(790);
  const rows = Array.from({ length: Math.floor(bytes / 4_000) }, (_, row) => {
    const price = row % 100 === 7 ? "nine" : "9.50";
    return `${prefix} ${row},${words},${price},${row}`;
  });
  return Buffer.from(["name,description,price,stock", ...rows].join("\n"));
}

test.beforeEach(async ({ page }) => signIn(page, ADMIN));

test("products are made, changed, moved and found @short", async ({ page, shot }) => {
  const word = `w${Date.now()}`;
  await page.getByRole("link", { name: "Products" }).click();
  await page.getByRole("link", { name: "New product" }).click();
  await fill(page, { Name: `Laptop ${word}`, Price: "9.999", Stock: "many", SKU: word });
  await page.getByRole("button", { name: "New product" }).click();
  await expect(field(page, "Price")).toHaveAttribute("aria-invalid", "true");
  await expect(field(page, "Stock")).toHaveAttribute("aria-invalid", "true");
  await shot("product-problems");
  await fill(page, { Price: "899.99", Stock: "10" });
  await page.getByRole("button", { name: "New product" }).click();
  await expect(page.getByRole("heading", { name: `Laptop ${word}` })).toBeVisible();

  const [add, remove] = [page.locator("form").filter({ hasText: "Add" }), page.locator("form").filter({ hasText: "Remove" })];
  await remove.getByLabel("Quantity").fill("11");
  await remove.getByRole("button").click();
  await expect(remove.getByText("There is not enough stock.")).toBeVisible();
  await add.getByLabel("Quantity").fill("5");
  await add.getByLabel("Reason").fill("delivery");
  await add.getByRole("button").click();
  await expect(page.getByTestId("stock")).toHaveText("15");
  await expect(page.getByRole("row").filter({ hasText: "delivery" })).toContainText("+5");
  await fill(page, { Price: "799" });
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("definition").first()).toHaveText("799.00");
  await shot("product");

  await page.getByRole("link", { name: "Products" }).click();
  await page.getByRole("link", { name: "New product" }).click();
  await fill(page, { Name: "Another", Price: "1", Stock: "1", SKU: word });
  await page.getByRole("button", { name: "New product" }).click();
  await expect(page.getByText("Another product has this SKU.")).toBeVisible();

  await page.getByRole("link", { name: "Products" }).click();
  await page.getByLabel("Search").fill(word);
  await expect(names(page)).toHaveText([`Laptop ${word}`]);
  await shot("products");
});

test("a file of 5 MB: progress, refused rows, pages, export", async ({ page, context, shot }) => {
  test.setTimeout(240_000);
  const prefix = `Mouse${Date.now()}`;
  await page.goto("/products/import");
  const buffer = products(5_000_000, prefix);
  await page.getByLabel("File").setInputFiles({ name: "products.csv", mimeType: "text/csv", buffer });
  const network = await context.newCDPSession(page);
  const speed = { offline: false, latency: 0, downloadThroughput: -1 };
  await network.send("Network.emulateNetworkConditions", { ...speed, uploadThroughput: 1_000_000 });
  await page.getByRole("button", { name: "Upload" }).click();
  await expect(page.getByText(/^ *[1-9]\d % sent/)).toBeVisible();
  await shot("upload-under-way");
  await expect(page.getByRole("progressbar", { name: "rows processed" })).toBeVisible({ timeout: 60_000 });
  await shot("import-under-way");
  await page.reload(); // the handle is kept
  await expect(page.getByText("1250 / 1250 rows processed")).toBeVisible({ timeout: 180_000 });
  await expect(page.getByText("13 rows were refused:")).toBeVisible();
  await expect(page.getByRole("row").nth(1)).toContainText("9");
  await shot("import");

  await page.goto("/products");
  await page.getByLabel("Search").fill(prefix);
  await choose(page, "Order", "by name");
  await expect(names(page).first()).toHaveText(`${prefix} 0`);
  await expect(names(page)).toHaveCount(20);
  await page.getByRole("button", { name: "More" }).click();
  await expect(names(page)).toHaveCount(40);
  const texts = await names(page).allTextContents();
  expect(new Set(texts).size).toBe(40);
  const file = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export as CSV" }).click();
  expect((await file).suggestedFilename()).toBe("products.csv");
});

test("a file that is too large is refused with a sentence", async ({ page }) => {
  await page.goto("/products/import");
  const buffer = products(5_600_000, "Large");
  await page.getByLabel("File").setInputFiles({ name: "products.csv", mimeType: "text/csv", buffer });
  await page.getByRole("button", { name: "Upload" }).click();
  await expect(page.getByRole("alert")).toHaveText("This file is too large: at most 5 MiB and 10,000 rows.");
});

test("the products fit a phone", async ({ page, shot }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  for (const path of ["/products", "/products/new", "/products/import"]) {
    await page.goto(path);
    await expect(page.locator("h1")).toBeVisible();
    await fits(page);
    await shot(`phone${path.replaceAll("/", "-")}`);
  }
});
