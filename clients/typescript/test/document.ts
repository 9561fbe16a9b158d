/** A document, for React. Import it before react-dom, which looks for one. */
import { Window } from "happy-dom";

const window = new Window();
Object.assign(globalThis, { window, document: window.document, navigator: globalThis.navigator ?? window.navigator });
