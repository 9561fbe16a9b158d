import { createContext, type ReactNode, useContext, useEffect, useState } from "react";

export const languages = { en: "English", es: "Español" };
export type Language = keyof typeof languages;

const KEY = "language";
const Chosen = createContext<{ language: Language; choose: (language: Language) => void }>({
  language: "en",
  choose: () => undefined,
});

export function Languages({ children }: { children: ReactNode }) {
  const [language, set] = useState<Language>(() => {
    const wanted = [localStorage.getItem(KEY), ...navigator.languages].map((one) => one?.slice(0, 2));
    return (wanted.find((one) => one && one in languages) ?? "en") as Language;
  });
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const choose = (chosen: Language) => {
    localStorage.setItem(KEY, chosen);
    set(chosen);
  };
  return <Chosen.Provider value={{ language, choose }}>{children}</Chosen.Provider>;
}

export const useLanguage = () => useContext(Chosen);

/** Texts in every language: the compiler reports one that is missing. */
export const texts = <K extends string>(of: Record<Language, Record<K, string>>) => of;
export const useTexts = <T,>(of: Record<Language, T>): T => of[useLanguage().language];

export function useFormats() {
  const { language } = useLanguage();
  const times = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
  const prices = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return { time: (text: string) => times.format(new Date(text)), price: (text: string) => prices.format(Number(text)) };
}
