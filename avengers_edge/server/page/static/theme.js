/** Dark and light: what the system says, unless the button said otherwise in this tab. */

import { find } from "./dom.js";
import { load, save } from "./store.js";

const THEMES = ["automatic", "light", "dark"];

/** Let the button change it. */
export function startTheme() {
  const button = find("#theme");
  let theme = load("theme", THEMES[0]);
  const apply = () => {
    document.documentElement.dataset.theme = theme;
    button.setAttribute("aria-label", `Colours: ${theme}`);
    button.title = `Colours: ${theme}`;
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    save("theme", theme);
    apply();
  });
  apply();
}
