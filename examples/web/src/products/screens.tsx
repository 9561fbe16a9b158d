import type { Screen } from "../screens";
import { Import } from "./import";
import { Item, NewProduct } from "./item";
import { Products } from "./list";
import { words } from "./texts";

export const screens: readonly Screen[] = [
  { path: "/products", show: Products, nav: { en: words.en.products, es: words.es.products } },
  { path: "/products/new", show: NewProduct, needs: "admin" },
  { path: "/products/import", show: Import, needs: "admin" },
  { path: "/products/:id", show: Item },
];
