/** The settings panel, and the choice of a model beside the question. */

import { isTeam, USUAL } from "./asking.js";
import { find } from "./dom.js";
import { load, save } from "./store.js";

/** @typedef {import("./asking.js").Settings} Settings */

export class SettingsPanel {
  /** @param {() => void} changed */
  constructor(changed) {
    /** @type {Settings} */
    this.values = { ...USUAL, ...load("settings", {}) };
    this.changed = changed;
    this.dialog = /** @type {HTMLDialogElement} */ (find("#settings"));
    this.model = /** @type {HTMLSelectElement} */ (find("#model"));
    this.samples = /** @type {HTMLInputElement} */ (find("#samples"));
    this.prefer = /** @type {HTMLInputElement} */ (find("#prefer"));
    this.tokens = /** @type {HTMLInputElement} */ (find("#tokens"));
    this.first = /** @type {HTMLInputElement} */ (find("#first"));
    this.system = /** @type {HTMLTextAreaElement} */ (find("#system"));
    this.fill();
    for (const field of [this.model, this.samples, this.prefer, this.tokens, this.first, this.system]) {
      field.addEventListener("input", () => this.read());
    }
    find("#reset").addEventListener("click", () => {
      this.values = { ...USUAL, model: this.values.model };
      this.fill();
      this.keep();
    });
    find("#open-settings").addEventListener("click", () => this.dialog.showModal());
    find("#chosen").addEventListener("click", () => this.dialog.showModal());
  }

  /**
   * Offer models; one that is gone is not chosen any more.
   *
   * @param {string[]} names
   */
  offer(names) {
    const [teams, others] = [names.filter(isTeam), names.filter((name) => !isTeam(name))];
    this.model.replaceChildren(...group("Routed and voted", teams), ...group("One model", others));
    if (!names.includes(this.values.model)) this.values.model = names[0] ?? USUAL.model;
    this.fill();
    this.keep();
  }

  /** Show the values. */
  fill() {
    const { values } = this;
    if (![...this.model.options].some((option) => option.value === values.model)) {
      this.model.append(new Option(labelOf(values.model), values.model));
    }
    this.model.value = values.model;
    this.samples.value = values.samples === null ? "" : String(values.samples);
    this.prefer.value = String(values.prefer);
    this.tokens.value = values.tokens === null ? "" : String(values.tokens);
    this.first.checked = values.first;
    this.system.value = values.system;
    this.tell();
  }

  /** Take what the fields say; a number that is none is left out, and its field says so. */
  read() {
    this.values = {
      model: this.model.value,
      samples: this.samples.validity.valid && this.samples.value ? this.samples.valueAsNumber : null,
      prefer: this.prefer.valueAsNumber,
      tokens: this.tokens.validity.valid && this.tokens.value ? this.tokens.valueAsNumber : null,
      first: this.first.checked,
      system: this.system.value,
    };
    this.keep();
  }

  keep() {
    save("settings", this.values);
    this.tell();
    this.changed();
  }

  /** Say what follows from the values. */
  tell() {
    const { values } = this;
    const team = isTeam(values.model);
    this.prefer.disabled = !team;
    find("#prefer-value").textContent = team ? `accuracy ${values.prefer.toFixed(1)}` : "one model: no choice";
    const usual = team ? "the team decides" : "one answer, no vote";
    find("#samples-help").textContent = `Empty: ${usual}. More samples take longer.`;
    const said = [
      ...(values.samples === null ? [] : [values.samples === 1 ? "1 sample" : `${values.samples} samples`]),
      ...(team && values.prefer < 1 ? [`accuracy ${values.prefer.toFixed(1)}`] : []),
      ...(values.system.trim() ? ["system prompt"] : []),
    ];
    find("#chosen").hidden = !said.length;
    find("#chosen").textContent = said.join(" · ");
  }
}

/**
 * @param {string} label
 * @param {string[]} names
 */
function group(label, names) {
  if (!names.length) return [];
  const made = document.createElement("optgroup");
  made.label = label;
  made.append(...names.map((name) => new Option(labelOf(name), name)));
  return [made];
}

/** @param {string} name */
function labelOf(name) {
  return name === "avengers" ? "avengers (default team)" : name;
}
