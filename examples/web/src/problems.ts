import { isProblem } from "promise-backend-client";
import { texts } from "./language";

/** What the user reads, by code: the API's own texts are English, for developers. */
export const problemTexts = texts({
  en: {
    busy: "The server is busy. Try again in a moment.",
    email_taken: "Another account uses this address.",
    forbidden: "You are not allowed to do this.",
    insufficient_stock: "There is not enough stock.",
    invalid_code: "This code is wrong or has expired.",
    invalid_credentials: "The address or the password is wrong.",
    invalid_link: "This link is no longer valid. Ask for a new one.",
    body_too_large: "This file is too large: at most 5 MiB and 10,000 rows.",
    bad_request: "This file cannot be read.",
    product_not_found: "There is no such product.",
    sku_taken: "Another product has this SKU.",
    stale_version: "Somebody else changed this meanwhile.",
    too_many_attempts: "There were too many attempts. Try again later.",
    too_many_requests: "There were too many attempts. Try again later.",
    unavailable: "The service is away for a moment. Nothing was changed: try again.",
    unreachable: "The service cannot be reached. Check your connection and try again.",
    username_taken: "Somebody else has this username.",
    validation_failed: "Please check the marked fields.",
    wrong_password: "The password is wrong.",
    unknown: "That did not work. Try again.",
  },
  es: {
    busy: "El servidor está ocupado. Inténtalo de nuevo en un momento.",
    email_taken: "Otra cuenta usa esta dirección.",
    forbidden: "No tienes permiso para hacer esto.",
    insufficient_stock: "No hay existencias suficientes.",
    invalid_code: "Este código no es correcto o ha caducado.",
    invalid_credentials: "La dirección o la contraseña no es correcta.",
    invalid_link: "Este enlace ya no es válido. Pide uno nuevo.",
    body_too_large: "El archivo es demasiado grande: como máximo 5 MiB y 10 000 filas.",
    bad_request: "No se puede leer este archivo.",
    product_not_found: "Este producto no existe.",
    sku_taken: "Otro producto tiene este SKU.",
    stale_version: "Otra persona ha cambiado esto entretanto.",
    too_many_attempts: "Ha habido demasiados intentos. Inténtalo más tarde.",
    too_many_requests: "Ha habido demasiados intentos. Inténtalo más tarde.",
    unavailable: "El servicio no está disponible ahora. No se ha cambiado nada: inténtalo de nuevo.",
    unreachable: "No se puede conectar con el servicio. Comprueba tu conexión e inténtalo de nuevo.",
    username_taken: "Otra persona tiene este nombre de usuario.",
    validation_failed: "Revisa los campos marcados.",
    wrong_password: "La contraseña no es correcta.",
    unknown: "No ha funcionado. Inténtalo de nuevo.",
  },
});

/** What a field may hold, in place of the API's English sentence. English keeps that: it is more exact. */
const FIELDS_ES: Record<string, string> = {
  age: "Escribe un número de 0 a 150.",
  code: "Escribe las 6 cifras del código.",
  email: "Escribe una dirección de correo válida.",
  name: "Escribe de 1 a 200 caracteres.",
  new_password: "De 8 a 128 caracteres; que no sea común, ni tu nombre o dirección.",
  password: "De 8 a 128 caracteres; que no sea común, ni tu nombre o dirección.",
  phone_number: "Escribe + y de 7 a 15 cifras.",
  price: "Escribe un número con dos decimales como máximo.",
  quantity: "Escribe un número entero a partir de 1.",
  stock: "Escribe un número entero a partir de 0.",
  username: "De 3 a 32 letras sin acento, cifras o los signos _ . -",
};

/** A problem as a form shows it: below its fields, and above the form. */
export interface Shown {
  readonly form: string;
  readonly fields: Readonly<Record<string, string>>;
  /** For whoever is asked for help. */
  readonly requestId: string | undefined;
}

/** @param at the fields at which problems with these codes are shown. */
export function shown(error: unknown, language: "en" | "es", at: Record<string, string> = {}): Shown {
  const known: Record<string, string> = problemTexts[language];
  if (!isProblem(error)) return { form: known["unreachable"]!, fields: {}, requestId: undefined };
  const text = known[error.code] ?? known["unknown"]!;
  const field = at[error.code];
  if (field) return { form: "", fields: { [field]: text }, requestId: undefined };
  const given = Object.entries(error.fields());
  const fields = Object.fromEntries(given.map(([name, of]) => [name, (language === "es" && FIELDS_ES[name]) || of]));
  return { form: text, fields, requestId: error.status >= 500 ? error.request_id : undefined };
}
