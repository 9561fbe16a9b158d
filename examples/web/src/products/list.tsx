import { usePages } from "promise-backend-client/react";
import { useDeferredValue, useState } from "react";
import { api } from "../api";
import { Failure } from "../form";
import { useFormats, useTexts } from "../language";
import { Link, Title } from "../router";
import { useIsAdmin } from "../user";
import { words } from "./texts";

const ORDERS = { "-created_at": "newest", price: "cheapest", name: "byName" } as const;
type Order = keyof typeof ORDERS;

export function Products() {
  const t = useTexts(words);
  const { price } = useFormats();
  const isAdmin = useIsAdmin();
  const [q, search] = useState("");
  const [sort, order] = useState<Order>("-created_at");
  const [inStock, only] = useState(false);
  const wanted = useDeferredValue(q.trim());
  const query = { sort, ...(wanted && { q: wanted }), ...(inStock && { in_stock: true }) };
  const { items, error, isLoading, hasMore, loadMore } = usePages(api, () => api.products.list(query), [query]);

  return (
    <>
      <Title>{t.products}</Title>
      {isAdmin && (
        <p className="actions">
          <Link to="/products/new">{t.create}</Link> <Link to="/products/import">{t.import}</Link> <Export />
        </p>
      )}
      <form className="filter" role="search" onSubmit={(event) => event.preventDefault()}>
        <p className="field">
          <label htmlFor="q">{t.search}</label>
          <input id="q" type="search" value={q} onChange={(event) => search(event.target.value)} />
        </p>
        <p className="field">
          <label htmlFor="sort">{t.sort}</label>
          <select id="sort" value={sort} onChange={(event) => order(event.target.value as Order)}>
            {Object.entries(ORDERS).map(([value, name]) => (
              <option key={value} value={value}>
                {t[name]}
              </option>
            ))}
          </select>
        </p>
        <p className="field">
          <label>
            <input type="checkbox" checked={inStock} onChange={(event) => only(event.target.checked)} /> {t.inStock}
          </label>
        </p>
      </form>
      <Failure error={error} />
      <ul className="cards" aria-busy={isLoading} aria-label={t.products}>
        {items.map((product) => (
          <li key={product.id}>
            <p>
              <Link to={`/products/${product.id}`}>{product.name}</Link>{" "}
              {!product.is_active && <span className="badge">{t.inactive}</span>}
            </p>
            <p>
              {price(product.price)} <small>{`${t.stock}: ${product.stock}${product.sku ? ` · ${product.sku}` : ""}`}</small>
            </p>
          </li>
        ))}
      </ul>
      {items.length === 0 && !isLoading && error === undefined && <p role="status">{t.empty}</p>}
      {hasMore && (
        <button aria-disabled={isLoading} onClick={() => void loadMore()}>
          {t.more}
        </button>
      )}
    </>
  );
}

/** A link could not carry the token: the file is read first. */
function Export() {
  const t = useTexts(words);
  const [error, fail] = useState<unknown>();
  const save = async () => {
    const address = URL.createObjectURL(await api.products.export());
    const link = Object.assign(document.createElement("a"), { href: address, download: "products.csv" });
    link.click();
    URL.revokeObjectURL(address);
  };
  return (
    <>
      <button onClick={() => void save().catch(fail)}>{t.export}</button>
      <Failure error={error} />
    </>
  );
}
