import { usePages } from "promise-backend-client/react";
import { useEffect, useState } from "react";
import { api } from "../api";
import { Failure, Field, Form } from "../form";
import { useFormats, useTexts } from "../language";
import { go, Title } from "../router";
import { useIsAdmin } from "../user";
import { words } from "./texts";

type Product = Awaited<ReturnType<typeof api.products.get>>;
type Read = (product: Product) => void;

export function Item({ id }: { id: string }) {
  const isAdmin = useIsAdmin();
  const [product, read] = useState<Product>();
  const [error, fail] = useState<unknown>();

  useEffect(() => {
    const gone = new AbortController();
    api.products.get(id, { signal: gone.signal }).then(read, (reason) => gone.signal.aborted || fail(reason));
    return () => gone.abort();
  }, [id]);

  if (!product) return <Failure error={error} />;
  return (
    <>
      <Shown {...product.data} />
      {isAdmin && (
        <>
          <Change product={product} read={read} />
          <Stock product={product} read={read} />
          <Movements id={id} version={product.data.version} />
        </>
      )}
    </>
  );
}

function Shown({ name, description, price, stock, sku, is_active }: Product["data"]) {
  const t = useTexts(words);
  const formats = useFormats();
  return (
    <>
      <Title>{name}</Title>
      {!is_active && <span className="badge">{t.inactive}</span>}
      {description && <p>{description}</p>}
      <dl className="facts">
        <dt>{t.price}</dt>
        <dd>{formats.price(price)}</dd>
        <dt>{t.stock}</dt>
        <dd data-testid="stock">{stock}</dd>
        {sku && <dt>{t.sku}</dt>}
        {sku && <dd>{sku}</dd>}
      </dl>
    </>
  );
}

/** Changes the version that is shown: whoever was faster is not overwritten. */
function Change({ product, read }: { product: Product; read: Read }) {
  const t = useTexts(words);
  const { id, name, price, description, is_active } = product.data;
  const [error, fail] = useState<unknown>();
  const toggle = is_active ? api.products.deactivate : api.products.activate;
  return (
    <section>
      <h2>{t.change}</h2>
      <Form
        key={product.etag}
        submit={t.save}
        action={async ({ description, ...values }) => {
          read(await product.update({ ...values, description: description || null }));
          return t.saved;
        }}
      >
        <Field name="name" label={t.name} defaultValue={name} required />
        <Field name="description" label={t.description} defaultValue={description ?? ""} />
        <Field name="price" label={t.price} defaultValue={price} inputMode="decimal" required />
      </Form>
      <p>
        <button onClick={() => void toggle(id).then(read, fail)}>{is_active ? t.nobodySees : t.everybodySees}</button>
      </p>
      <Failure error={error} />
    </section>
  );
}

function Stock({ product, read }: { product: Product; read: Read }) {
  const t = useTexts(words);
  return (
    <section>
      <h2>{t.stock}</h2>
      <div className="pair">
        {(["add", "remove"] as const).map((which) => (
          <Form
            key={which}
            submit={t[which]}
            at={{ insufficient_stock: "quantity" }}
            action={async ({ quantity, reason }) => {
              const movement = { quantity: number(quantity), ...(reason && { reason }) };
              read(await api.products.stock[which](product.data.id, movement));
              return t.saved;
            }}
          >
            <Field name="quantity" label={t.quantity} inputMode="numeric" required />
            <Field name="reason" label={t.reason} />
          </Form>
        ))}
      </div>
    </section>
  );
}

function Movements({ id, version }: { id: string; version: number }) {
  const t = useTexts(words);
  const { time } = useFormats();
  const { items, error, hasMore, loadMore } = usePages(api, () => api.products.stock.movements.list(id), [id, version]);
  return (
    <section>
      <h2>{t.movements}</h2>
      <Failure error={error} />
      <table>
        <thead>
          <tr>
            <th scope="col">{t.when}</th>
            <th scope="col">{t.quantity}</th>
            <th scope="col">{t.balance}</th>
            <th scope="col">{t.reason}</th>
          </tr>
        </thead>
        <tbody>
          {items.map((movement) => (
            <tr key={movement.id}>
              <td>{time(movement.created_at)}</td>
              <td>{movement.quantity > 0 ? `+${movement.quantity}` : movement.quantity}</td>
              <td>{movement.balance}</td>
              <td>{movement.reason}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {hasMore && <button onClick={() => void loadMore()}>{t.more}</button>}
    </section>
  );
}

export function NewProduct() {
  const t = useTexts(words);
  return (
    <>
      <Title>{t.create}</Title>
      <Form
        submit={t.create}
        at={{ sku_taken: "sku" }}
        action={async ({ name = "", price = "", stock, sku, description }) => {
          const optional = { ...(sku && { sku }), ...(description && { description }) };
          const made = await api.products.create({ name, price, stock: number(stock), ...optional });
          go(`/products/${made.data.id}`);
        }}
      >
        <Field name="name" label={t.name} required />
        <Field name="description" label={t.description} />
        <Field name="price" label={t.price} inputMode="decimal" required />
        <Field name="stock" label={t.stock} inputMode="numeric" required />
        <Field name="sku" label={t.sku} />
      </Form>
    </>
  );
}

/** What is no number is sent as it is: the API says what is wrong with it. */
const number = (text = "") => (text.trim() === "" || Number.isNaN(Number(text)) ? (text as unknown as number) : Number(text));
