// Elements, and how times and numbers are written.

import { now } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element. `on…` are listeners, null and false leave an attribute out; strings become text, never markup. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false && value !== undefined) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * A table. On a narrow screen each row is a card whose cells repeat their heading; the roles keep it a table for
 * screen readers.
 * @param columns heading and cell of each: [["Lane", (row) => row.name], …]; a third "number" aligns right, "whole" breaks no word
 */
export function table(caption, columns, rows, empty = "Nothing.") {
  if (!rows.length) return h("p", { class: "quiet" }, empty);
  const head = columns.map(([heading, , kind]) => h("th", { scope: "col", role: "columnheader", class: kind }, heading));
  const body = rows.map((row) =>
    h(
      "tr",
      { role: "row" },
      columns.map(([heading, cell, kind], place) =>
        place === 0
          ? h("th", { scope: "row", role: "rowheader", class: kind, "data-heading": heading }, cell(row))
          : td(heading, cell(row) ?? "", kind),
      ),
    ),
  );
  return h(
    "table",
    { role: "table" },
    h("caption", { class: "hidden" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, body),
  );
}

function td(heading, content, kind = "") {
  const [shown, mark] = content === "" ? ["–", " empty"] : [content, ""];
  return h("td", { role: "cell", class: `${kind}${mark}`.trim() || null, "data-heading": heading }, h("div", {}, shown));
}

/** Terms and their descriptions. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", {}, known.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}

/** A state in words, with a mark: colour alone says nothing to some readers. */
export function state(kind, text) {
  const mark = { good: "✓", bad: "✕", warn: "!", quiet: "·" }[kind];
  return h("span", { class: `state ${kind}` }, h("span", { "aria-hidden": "true" }, mark), ` ${text}`);
}

export const statusOf = (status) =>
  state({ succeeded: "good", failed: "bad", pending: "warn", open: "bad", replayed: "good" }[status] || "quiet", status);

export function button(text, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, text);
}

export function link(text, path, query = {}, current = false) {
  const parameters = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== null));
  return h("a", { href: `#${path}${parameters.size ? `?${parameters}` : ""}`, "aria-current": current && "true" }, text);
}

/** How long ago, with the exact local time as a tooltip. */
export function ago(time) {
  if (!time) return null;
  const at = new Date(time);
  return h("time", { datetime: time, title: at.toLocaleString() }, `${duration((now() - at) / 1000)} ago`);
}

/** The local time with milliseconds. */
export function clock(time) {
  if (!time) return null;
  const at = new Date(time);
  const part = (number, width = 2) => String(number).padStart(width, "0");
  const day = `${at.getFullYear()}-${part(at.getMonth() + 1)}-${part(at.getDate())}`;
  const text = `${day} ${part(at.getHours())}:${part(at.getMinutes())}:${part(at.getSeconds())}.${part(at.getMilliseconds(), 3)}`;
  return h("time", { datetime: time }, text);
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return null;
  const size = Math.max(0, seconds);
  if (size < 1) return `${Math.round(size * 1000)} ms`;
  if (size < 120) return `${size < 10 ? size.toFixed(1) : Math.round(size)} s`;
  if (size < 7200) return `${Math.round(size / 60)} min`;
  return size < 172800 ? `${Math.round(size / 3600)} h` : `${Math.round(size / 86400)} d`;
}

export function bytes(number) {
  return number === null || number === undefined ? null : `${Math.round(number / 1048576)} MiB`;
}

/** A line of numbers, the oldest first, with the same in words. */
export function sparkline(numbers, words) {
  const most = Math.max(1, ...numbers);
  const [width, height] = [120, 24];
  const x = (place) => ((place / (numbers.length - 1)) * width).toFixed(1);
  const y = (number) => (height - 1 - (number / most) * (height - 2)).toFixed(1);
  const points = numbers.map((number, place) => `${x(place)},${y(number)}`).join(" ");
  return svg(
    "svg",
    { role: "img", "aria-label": words, viewBox: `0 0 ${width} ${height}`, width, height, class: "sparkline" },
    svg("title", {}, words),
    svg("polyline", { points, fill: "none", "stroke-width": 1.5 }),
  );
}

/**
 * A form of filters. Sending it opens the same page with what was entered as its query; empty ones are left out.
 * @param fields by name: {command: ["Command", {list: ["users.create_user"]}], status: ["Status", {choices: ["failed"]}]}
 */
export function filters(path, fields, query) {
  const entered = (event) => {
    event.preventDefault();
    const given = [...new FormData(event.target)].filter(([, value]) => value.trim());
    const parameters = new URLSearchParams(given.map(([name, value]) => [name, fromField(fields[name][1], value.trim())]));
    location.hash = `#${path}${parameters.size ? `?${parameters}` : ""}`;
  };
  const parts = Object.entries(fields).map(([name, [label, about]]) =>
    h("p", {}, h("label", { for: `filter-${name}` }, label), field(name, about, query[name] || "")),
  );
  return h(
    "form",
    { class: "filter", role: "search", onsubmit: entered },
    parts,
    h("p", { class: "actions" }, h("button", { type: "submit", class: "main" }, "Search"), link("Clear", path)),
  );
}

function field(name, { choices, list, ...attributes }, value) {
  const id = `filter-${name}`;
  if (choices) {
    const options = ["", ...choices].map((one) => h("option", { value: one, selected: one === value }, one || "any"));
    return h("select", { id, name }, options);
  }
  const shown = attributes.type === "datetime-local" && value ? localTime(new Date(value)) : value;
  const input = h("input", { id, name, value: shown, list: list ? `${id}-list` : null, ...attributes });
  return list ? [input, h("datalist", { id: `${id}-list` }, list.map((one) => h("option", { value: one })))] : input;
}

const fromField = ({ type }, value) => (type === "datetime-local" ? new Date(value).toISOString() : value);

const localTime = (at) => new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);

/** Links to the next page of a listing, and back to its first one. */
export function pager(path, query, next) {
  const { cursor, ...filter } = query;
  if (!cursor && !next) return null;
  return h(
    "p",
    { class: "actions" },
    cursor ? link("First page", path, filter) : null,
    next ? link("Next page", path, { ...filter, cursor: next }) : null,
  );
}

/** Put the content into place. The focus stays where it is: at the same `data-key`, or at the same link. */
export function put(place, ...content) {
  const had = place.contains(document.activeElement) ? document.activeElement : null;
  const alike = () => [...place.querySelectorAll("[data-key], a")].filter((one) => keyOf(one) === keyOf(had));
  const at = had ? alike().indexOf(had) : -1;
  place.replaceChildren(...content.flat(Infinity).filter(Boolean));
  if (at >= 0) alike()[at]?.focus({ preventScroll: true });
}

const keyOf = (element) => element.dataset.key || element.getAttribute("href");

/**
 * A dialog; the promise is what was entered, or null if it was closed. `act` is called with it: while that fails the
 * dialog stays open and says why.
 * @param fields labelled inputs, by name: {reason: ["Reason", {required: true}], lane: ["Lane", {choices: ["a", "b"]}]}
 */
export function ask(title, text, fields, confirm, act) {
  return new Promise((resolve) => {
    const error = h("p", { role: "alert", class: "problem", hidden: true });
    const inputs = Object.entries(fields).map(([name, [label, attributes]]) => {
      const { choices, ...others } = attributes;
      const input = choices
        ? h("select", { id: `ask-${name}`, name, ...others }, choices.map((one) => h("option", { value: one }, one)))
        : h("input", { id: `ask-${name}`, name, ...others });
      const parts = [h("label", { for: `ask-${name}` }, label), input];
      return attributes.type === "checkbox" ? h("p", { class: "check" }, parts.reverse()) : h("p", {}, parts);
    });
    let entered = null;
    const submit = h("button", { type: "submit", class: "main" }, confirm);
    const dialog = h(
      "dialog",
      { "aria-labelledby": "ask-title" },
      h(
        "form",
        {
          async onsubmit(event) {
            event.preventDefault();
            const values = Object.fromEntries(new FormData(event.target));
            submit.disabled = true;
            try {
              await act(values, (told) => put(progress, told));
              entered = values;
              dialog.close();
            } catch (failure) {
              error.textContent = [failure.message, ...(failure.reasons || [])].join(" ");
              error.hidden = false;
            } finally {
              submit.disabled = false;
            }
          },
        },
        h("h2", { id: "ask-title" }, title),
        text ? h("p", {}, text) : null,
        inputs,
        error,
      ),
    );
    const progress = h("div", { role: "status" });
    dialog.firstChild.append(
      progress,
      h("p", { class: "actions" }, submit, button("Cancel", () => dialog.close())),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(entered);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
